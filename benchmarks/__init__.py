"""The measured comparisons. `make bench` runs them all on a stack of their own and prints one table."""
