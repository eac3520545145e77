"""Coder: a client of its HTTP API, and what the platform sets up in it."""
