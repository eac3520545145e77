"""CSV bodies as `DataFrame.to_csv` writes them: a header, then a line a row; an empty cell is a missing value."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from serving.errors import RequestError, show
from serving.models.model import ServedModel
from serving.models.signature import Rows

_MISSING = frozenset({"", "NaN", "nan", "NA", "N/A", "<NA>", "NULL", "null", "None"})
"""What pandas reads as a missing value, in a column that is not text; in one that is only the empty cell is one."""
_BOOLEANS = {"true": True, "false": False}


class CsvTable:
    """A CSV body; cells are not looked at before the model is known, since only its signature tells their types."""

    __slots__ = ("_columns", "_count")

    def __init__(self, body: bytes) -> None:
        """Take a body.

        Raises:
            RequestError: 400, it is no CSV with a header and at least one row, or a row is too short or too long.
        """
        try:
            lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
            header, *rows = [line for line in lines if line] or [[]]
        except UnicodeDecodeError as exc:
            raise RequestError(400, f"the body is not UTF-8: {exc.reason} at byte {exc.start}") from None
        except csv.Error as exc:
            raise RequestError(400, f"the body is not CSV: {exc}") from None
        if not rows:
            raise RequestError(400, "expected a header line with the columns' names and at least one row, got no row")
        for row, cells in enumerate(rows):
            if len(cells) != len(header):
                raise RequestError(400, f"row {row}: expected {len(header)} cells as in the header, got {len(cells)}")
        self._count = len(rows)
        self._columns: dict[str, tuple[str, ...]] = dict(zip(header, zip(*rows, strict=True), strict=True))
        if len(self._columns) < len(header):
            raise RequestError(400, f"the header has {show(repeated(header))} twice")
        if header[0] == "":
            del self._columns[""]  # the index, which pandas writes unless it is told not to

    def routing_key(self, entity_key: str | None) -> str | None:
        """See `Payload.routing_key`."""
        cells = self._columns.get(entity_key) if entity_key is not None else None
        return cells[0] or None if cells else None

    def rows(self, model: ServedModel) -> Rows:
        """See `Payload.rows`."""
        types = {field.name: field.type for field in model.signature.fields}
        columns = {name: parse_cells(types.get(name, "string"), cells) for name, cells in self._columns.items()}
        return model.signature.check_columns(columns, self._count, model.entity_key)


def repeated(names: Iterable[str]) -> str | None:
    """Return a name that is there more than once, or None."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def parse_cells(kind: str, cells: tuple[str, ...]) -> list[Any]:
    """Return a column's cells as values of the field type `kind`. A cell that cannot be one stays text, so that the
    signature's check tells the caller where it is."""
    if kind == "string":
        return [cell or None for cell in cells]
    parse = _PARSERS.get(kind, str)
    return [None if cell in _MISSING else _attempt(parse, cell) for cell in cells]


def _attempt(parse: Callable[[str], Any], cell: str) -> Any:
    try:
        return parse(cell)
    except ValueError:
        return cell


def _boolean(cell: str) -> bool | str:
    return _BOOLEANS.get(cell.lower(), cell)


def _integer(cell: str) -> int | float | str:
    try:
        return int(cell) if "_" not in cell else cell
    except ValueError:
        return _number(cell)


def _number(cell: str) -> float | str:
    return float(cell) if "_" not in cell else cell  # 1_000 is a number to Python only


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
}
