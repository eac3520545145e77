"""Lets Schemathesis send tables: bytes that are none."""

from typing import Any

import hypothesis.strategies as st
import schemathesis

TABLES = (
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.parquet",
)


@schemathesis.serializer(*TABLES)
def as_it_is(_: Any, value: Any) -> bytes:
    """Return the body to send for a value that was made."""
    return value if isinstance(value, bytes) else str(value).encode()


for name in TABLES:
    schemathesis.openapi.media_type(name, st.binary(max_size=200))
