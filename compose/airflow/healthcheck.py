"""`healthcheck.py PART URL`: exit 0 if PART of Airflow has a fresh heartbeat, as the api-server at URL sees it.

The parts open no port of their own for this. Standard library only, so that it starts in a blink (python -I -S).
"""

import json
import sys
import urllib.request


def main(part: str, url: str) -> str | None:
    """Return what is wrong, or None."""
    with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=8) as answer:  # noqa: S310
        status = json.load(answer)[part]["status"]
    return None if status == "healthy" else f"{part} is {status or 'not running'}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
