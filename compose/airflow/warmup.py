"""`warmup.py URL`: makes the first call of the Execution API, which builds its routes and blocks the api-server.

Without it the first task of the first DAG pays those seconds, and the health checks fail meanwhile.
"""

import sys
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 120
PAUSE_SECONDS = 0.3


def call(url: str) -> int:
    """The status that an unauthenticated call gets."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/execution/task-instances/00000000-0000-0000-0000-000000000000/run",
        data=b"{}",
        headers={"Airflow-API-Version": "2099-01-01", "Content-Type": "application/json"},
        method="PATCH",
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def main(url: str) -> str | None:
    """Return what is wrong, or None: the call has to be refused, as it has no token."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            status = call(url)
        except OSError:
            time.sleep(PAUSE_SECONDS)
            continue
        return None if status in (401, 403) else f"the Execution API answered {status} to a call without a token"
    return f"{url} did not answer in {PATIENCE_SECONDS} s"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
