"""The steps of the loop, one module a step, each also a command: ``python -m pipelines <step> <project>``."""
