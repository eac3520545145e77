"""Where rows come from and where their scores go: a table of the warehouse, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import StepError

FORMATS = (".parquet", ".csv")
_TABLE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Table:
    """A table or view of the warehouse, `schema.table`."""

    name: str

    @property
    def parts(self) -> tuple[str, str]:
        """(schema, table)."""
        schema, _, table = self.name.partition(".")
        return schema, table


@dataclass(frozen=True)
class File:
    """A Parquet or CSV file of this machine; its path is absolute."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)


Place = Table | File


def place(text: str, option: str) -> Place:
    """What `text`, the value of `option`, means; StepError if it is neither a table nor a file of a known format."""
    if text.endswith(FORMATS):
        return File(Path(text).expanduser().resolve())
    if _TABLE.fullmatch(text):
        return Table(text)
    raise StepError(
        f"{text!r} is neither a table nor a file",
        where=option,
        do=f"give a table as schema.table (small letters), or a file that ends in {' or '.join(FORMATS)}",
    )
