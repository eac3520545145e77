"""The two consoles: results on stdout, what goes on and errors on stderr."""

from __future__ import annotations

from rich.console import Console

# a table in a file or a pipe is not cut to the width of a terminal that is not there
_PIPE_WIDTH = 160


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=True)
    return console if console.is_terminal else Console(stderr=stderr, soft_wrap=True, width=_PIPE_WIDTH)


out = _console(stderr=False)
err = _console(stderr=True)
