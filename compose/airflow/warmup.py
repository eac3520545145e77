"""`warmup.py URL`: makes the first call of the Execution API, which builds its routes and blocks the api-server.

Without it the first task of the first DAG pays those seconds, and the health checks fail meanwhile.
"""

import sys
import urllib.error
import urllib.request


def main(url: str) -> str | None:
    """Return what is wrong, or None: the call is expected to be refused, as it has no token."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/execution/task-instances/00000000-0000-0000-0000-000000000000/run",
        data=b"{}",
        headers={"Airflow-API-Version": "2099-01-01", "Content-Type": "application/json"},
        method="PATCH",
    )
    try:
        urllib.request.urlopen(request, timeout=120)  # noqa: S310
    except urllib.error.HTTPError as refused:
        return None if refused.code in (401, 403) else f"the Execution API answered {refused.code}"
    return "the Execution API answered a caller without a token"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
