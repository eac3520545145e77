"""The `platform` command: reads the compose files, runs the stack they describe, and speaks HTTP to its services."""
