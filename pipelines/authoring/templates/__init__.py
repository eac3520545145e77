"""The `train.py` that a new project begins with, one a task. They work on any features."""
