"""Builds the DAGs of checkouts in Airflow's environment: ``python -m pipelines.authoring.import_dags CHECKOUT…``.

Prints one JSON object: checkout → {"dags": [ids], "problems": [messages]}. Without a database, and without a scheduler.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Build the DAGs of every checkout that the command line names."""
    from dags.factory import build  # noqa: PLC0415 (only Airflow's environment has what this needs)

    found = {}
    for checkout in sys.argv[1:]:
        os.environ["PLATFORM_REPO"] = checkout
        dags, problems = [], []
        try:
            for made in build(Path(checkout)):
                if isinstance(made, Exception):
                    problems.append(str(made))
                else:
                    dags.append(made.dag_id)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
        found[checkout] = {"dags": sorted(dags), "problems": problems}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
