"""One sync by PyAirbyte, in PyAirbyte's own environment: nothing here imports anything else of this repository.

Reads a job (JSON, made by ``pipelines.airbyte_job``) from stdin. Writes progress to stderr, each line after
``PROGRESS``, and one JSON object as the last line of stdout:
``{"streams": {name: {"read": rows, "repeated": rows}}}`` or ``{"error": reason}``.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

CONNECTOR = Path(__file__).with_name("airbyte_connector.py")


def main() -> None:
    """Run the job. PyAirbyte and the connector are imported side by side: either takes seconds."""
    job = json.load(sys.stdin)
    connector = subprocess.Popen(
        [job["connector"]["python"], "-P", str(CONNECTOR), job["connector"]["module"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        gc.disable()  # It takes a third of the time of the import.
        import airbyte_load  # noqa: PLC0415 (only now, beside the connector)

        gc.freeze()
        gc.enable()
        result = airbyte_load.load(job, connector)
    finally:
        connector.kill()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
