"""What cannot go to PostgreSQL is kept in a file for a person to look at: nothing is thrown away."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

ASIDE_FILE = "refused.log"


def put_aside(journal: Path, items: Sequence[dict[str, Any]]) -> None:
    """Append items durably, one JSON object a line. What is shipped again after a crash may stand there twice.

    Raises:
        OSError: the disk is full, or fails.
    """
    fd = os.open(journal / ASIDE_FILE, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in items)
        file.flush()
        os.fsync(file.fileno())
