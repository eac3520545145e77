"""Models as artifacts: logged, loaded, asked."""
