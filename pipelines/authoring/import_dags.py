"""Builds the DAGs of checkouts in Airflow's environment: ``python -m pipelines.authoring.import_dags CHECKOUT…``.

Each is brought into the form that Airflow stores it in, and its schedule is held to Airflow's own check. Prints one
JSON object: checkout → {"dags": [ids], "problems": [messages]}. Without a database, and without a scheduler.
"""

# ruff: noqa: PLC0415 (only Airflow's environment has what is imported in the functions)
from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Build the DAGs of every checkout that the command line names."""
    from dags.factory import build

    found = {}
    for checkout in sys.argv[1:]:
        os.environ["PLATFORM_REPO"] = checkout
        made = list(build(Path(checkout)))
        dags = [dag for dag in made if not isinstance(dag, Exception)]
        problems = [str(item) for item in made if isinstance(item, Exception)]
        problems += [f"{dag.dag_id}: {text}" for dag in dags if (text := _problem(dag))]
        found[checkout] = {"dags": sorted(dag.dag_id for dag in dags), "problems": problems}
    print(json.dumps(found))


def _problem(dag: Any) -> str:
    """Why Airflow could not store or schedule `dag`, if it could not."""
    from airflow.serialization.serialized_objects import DagSerialization

    try:
        timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
        timetable.validate()
        # One of assets and a time does not look at the time.
        getattr(timetable, "timetable", timetable).validate()
    except Exception as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
