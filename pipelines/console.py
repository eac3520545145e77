"""What a command for people prints: tables, or JSON; and its failures, as one message."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import StepError

if TYPE_CHECKING:
    from rich.console import RenderableType

# a table in a file or a pipe is not cut to the width of a terminal that is not there
PIPE_WIDTH = 200


@contextmanager
def messages() -> Iterator[None]:
    """Show a StepError as the message that it is."""
    try:
        yield
    except StepError as error:
        raise click.ClickException(str(error)) from None


def show(found: RenderableType | dict[str, Any] | list[Any]) -> None:
    """Print facts as JSON, anything else as rich draws it."""
    if isinstance(found, dict | list):
        click.echo(json.dumps(found, default=_plain, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 (a command that prints JSON does without it)

    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False).print(found)


def _plain(value: Any) -> str:
    """What JSON does not know: moments in ISO 8601, all else as text."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
