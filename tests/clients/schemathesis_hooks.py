"""What Schemathesis is to send for what it does not know: bytes for tables, moments in the range of a signature."""

from datetime import datetime
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

MOMENTS = st.datetimes(datetime(1678, 1, 1), datetime(2261, 12, 31))
schemathesis.openapi.format("date-time-local", MOMENTS.map(datetime.isoformat))
