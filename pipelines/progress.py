"""What a step tells the person who watches it. Everything goes to stderr: stdout's last line is the result."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one line of progress."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print how many seconds the enclosed part took, when it ended well."""
    start = time.perf_counter()
    yield
    say(f"  {name}: {time.perf_counter() - start:.1f} s")
