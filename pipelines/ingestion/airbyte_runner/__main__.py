"""One sync by PyAirbyte, in PyAirbyte's own environment: nothing here imports anything else of this repository.

Reads a job (a line of JSON, made by ``pipelines.ingestion.airbyte_job``) from stdin, which stays open as long as
whoever started it lives. Writes progress to stderr, each line after
``PROGRESS``, and one JSON object as the last line of stdout:
``{"streams": {name: {"read": rows, "repeated": rows}}}`` or ``{"error": reason}``.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

CONNECTOR = Path(__file__).with_name("airbyte_connector.py")


def main() -> None:
    """Run the job. PyAirbyte and the connector are imported side by side: either takes seconds."""
    job = json.loads(sys.stdin.readline())
    connector = subprocess.Popen(
        [job["connector"]["python"], "-P", str(CONNECTOR), job["connector"]["module"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    Thread(target=_end_with_parent, args=(connector,), daemon=True).start()
    try:
        gc.disable()  # It takes a third of the time of the import.
        import airbyte_load  # noqa: PLC0415 (only now, beside the connector)

        gc.freeze()
        gc.enable()
        result = airbyte_load.load(job, connector)
    finally:
        connector.kill()
    print(json.dumps(result), flush=True)


def _end_with_parent(connector: subprocess.Popen[str]) -> None:
    """Stop at once when stdin ends: the step was killed, its lock is free, and the next one may be loading already."""
    while os.read(0, 1):
        pass
    connector.kill()
    os._exit(1)


if __name__ == "__main__":
    main()
