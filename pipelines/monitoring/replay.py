"""Step `replay`: send a month's rows to the model server, as an application would before the outcome is known."""

from __future__ import annotations

import time
from typing import Any

import httpx
from psycopg import sql
from psycopg.rows import dict_row

from pipelines.data import mart
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.monitoring import predictions
from pipelines.progress import say
from pipelines.project import Project
from pipelines.warehouse import connect

BATCH_ROWS = 50
"""Rows a request: few, since a canary gets a share of the requests."""
TIMEOUT_SECONDS = 60.0
LOADING_SECONDS = 30.0

Record = dict[str, Any]


def run(
    env: Environment, project: Project, month: int, rows: int, part: tuple[int, int, int] = (1, 1, 1)
) -> dict[str, Any]:
    """Send `rows` of the month, spread evenly over it, in the order of their event time; or only a `part` of them:
    (2, 3, 10) is the second and the third tenth.

    They are in the database when it returns, so that a monitoring run that follows sees them.

    Returns `sent` (rows), `predictions` (answers) and `version` of the model that answered last.
    """
    records = part_of(_records(env, project, month, rows), part)
    if not records:
        raise StepError(
            f"{project.data.table} has no rows of month {month}",
            where="warehouse",
            do=f"load it first: `land {project.name} --months {month}`, `ingest`, `transform`",
        )
    answered, version, last = 0, None, ""
    headers = {"Authorization": f"Bearer {env.serving_api_key}"}
    with httpx.Client(base_url=env.serving_url, headers=headers, timeout=TIMEOUT_SECONDS) as client:
        for start in range(0, len(records), BATCH_ROWS):
            answer = _send(client, project.name, records[start : start + BATCH_ROWS])
            answered += len(answer["predictions"])
            version = answer["version"]
            last = answer["predictions"][-1]["prediction_id"]
    predictions.await_stored(env, last)
    say(f"  {answered} predictions by version {version}")
    return {"sent": len(records), "predictions": answered, "version": version}


def part_of(records: list[Record], part: tuple[int, int, int]) -> list[Record]:
    """The `part` of the records: (first, last, of how many), from 1. All parts together are all records, each once."""
    first, last, of = part
    return records[len(records) * (first - 1) // of : len(records) * last // of]


def _records(env: Environment, project: Project, month: int, rows: int) -> list[Record]:
    """Up to `rows` records (entity key and features) of the month; the same ones every time."""
    data = project.data
    query = sql.SQL(
        "SELECT {columns} FROM {table} WHERE {key} IN (SELECT {key} FROM {table} "
        "WHERE extract(month FROM {time}) = %s ORDER BY md5({key}::text) LIMIT %s) ORDER BY {time}, {key}"
    ).format(
        columns=mart.columns(project),
        table=mart.table(project),
        key=sql.Identifier(data.entity_key),
        time=sql.Identifier(data.event_time),
    )
    with connect(env) as connection:
        mart.check_columns(connection, project)
        found = connection.cursor(row_factory=dict_row).execute(query, (month, rows)).fetchall()
    return [{name: row[name] for name in (data.entity_key, *data.features)} for row in found]


def _send(client: httpx.Client, model: str, records: list[Record]) -> dict[str, Any]:
    """One request of `records`, again while the server asks to retry (a version is being loaded); a refusal is a
    StepError with the server's own words."""
    deadline = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            response = client.post(f"/models/{model}/predict", json={"records": records})
        except httpx.HTTPError as error:
            raise StepError(
                f"the model server does not answer: {error}",
                where=str(client.base_url),
                do="is it up? `platform status`",
            ) from error
        pause = response.headers.get("Retry-After", "")
        if not pause.isdecimal() or time.monotonic() > deadline:
            break
        time.sleep(int(pause))
    if response.is_success:
        answer: dict[str, Any] = response.json()
        return answer
    raise StepError(
        f"the model server answered {response.status_code}: {response.text[:500]}",
        where=str(response.url),
        do="see what it says; `platform logs serving` has more",
    )
