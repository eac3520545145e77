"""KEY=VALUE files: the settings, the runtime's variables and the secrets."""

from __future__ import annotations

import re
from pathlib import Path

from platform_cli.errors import UsageError

_LINE = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")


def read_env_file(file: Path) -> dict[str, str]:
    """The variables of a file, in order. Blank lines and lines that start with `#` are skipped; one pair of quotes
    around a value is taken off.

    Raises:
        UsageError: a line is not KEY=VALUE, or a key stands twice; names the line.
    """
    values: dict[str, str] = {}
    for number, raw in enumerate(file.read_text().splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"not a KEY=VALUE line: {line!r}", where=f"{file}, line {number}", do="correct the line")
        key, value = match["key"], match["value"].strip()
        if key in values:
            raise UsageError(f"{key} is set twice", where=f"{file}, line {number}", do="keep one of the two lines")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[key] = value
    return values
