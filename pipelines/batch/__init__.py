"""Scoring a table or a file with a registered version: in parts, by this process or by Spark, each row once."""
