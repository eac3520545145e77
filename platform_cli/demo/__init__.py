"""What `platform demo` does with the sample."""
