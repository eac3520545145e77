"""The model server side by side with the servers that people pick today: `make bench-serving`."""
