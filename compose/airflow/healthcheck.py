"""`healthcheck.py PART URL`: exit 0 if PART of Airflow has a fresh heartbeat, as the api-server at URL sees it.

The parts open no port of their own for this. The heartbeat of a part that was killed stays fresh for half a minute: if
SERVICE_STARTED tells when the present process was started, an older one does not count. Standard library only, so that
it starts in a blink (python -I -S).
"""

import json
import os
import sys
import urllib.request
from datetime import datetime


def main(part: str, url: str) -> str | None:
    """Return what is wrong, or None."""
    with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=8) as answer:  # noqa: S310
        state = json.load(answer)[part]
    if state["status"] != "healthy":
        return f"{part} is {state['status'] or 'not running'}"
    heartbeat = datetime.fromisoformat(state[f"latest_{part}_heartbeat"]).timestamp()
    started = float(os.environ.get("SERVICE_STARTED", "0"))
    return None if heartbeat >= started else f"{part} has sent no heartbeat since its start"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
