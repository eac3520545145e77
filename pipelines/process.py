"""What a short-lived process of this package sets before it imports anything else."""

from __future__ import annotations

import atexit
import gc

OBJECTS = 100_000
"""So many objects more than were freed start a collection; Python's default is 700."""


def short_lived() -> None:
    """Let the garbage collector work as a process of seconds needs it.

    Nearly all of what a step makes is what it imports (MLflow, scikit-learn, pandas), which lives until the end: the
    default looks through it again and again while it grows, and once more at the exit. That is 1.8 s of the 3.9 s of
    processor time that a step that does nothing takes.
    """
    gc.set_threshold(OBJECTS, 20, 20)
    atexit.register(gc.freeze)
