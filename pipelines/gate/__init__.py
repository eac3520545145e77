"""Whether a candidate may be released, and its registration."""
