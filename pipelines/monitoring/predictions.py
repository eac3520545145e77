"""What the model server answered, and what turned out to be true."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pandas as pd
import psycopg
from psycopg import sql

from pipelines.data import mart
from pipelines.data.dataset import features_of
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project
from pipelines.warehouse import connect, open_database

STORED_SECONDS = 30.0
STORED_POLL_SECONDS = 0.1
CLOCKS_DIFFER = timedelta(days=1)


def recent(env: Environment, project: Project, version: int, since: datetime, rows: int) -> pd.DataFrame:
    """The newest `rows` answers of the version, newest first: `created_at`, `entity_key`, `probability`, features.

    What it said as a shadow is not among them, since nobody was answered with it. Features have the types that a
    training has. There are none from before `since`: months before it are not looked through.
    """
    query = (
        "SELECT created_at, entity_key, probability, features FROM predictions WHERE model = %s AND version = %s "
        "AND role IN ('champion', 'canary') AND created_at >= %s AND probability IS NOT NULL "
        "ORDER BY created_at DESC LIMIT %s"
    )
    with open_database(env.predictions_url) as connection:
        try:
            found = connection.execute(query, (project.name, version, since - CLOCKS_DIFFER, rows)).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            raise StepError(
                f"the predictions cannot be read: {error.diag.message_primary}",
                where="PREDICTIONS_URL",
                do="the service serving-journal makes the table, and lets the pipelines read it: start it",
            ) from error
    columns = {
        "created_at": [row[0] for row in found],
        "entity_key": [row[1] for row in found],
        "probability": [row[2] for row in found],
    }
    raw = {name: [row[3].get(name) for row in found] for name in project.data.features}
    return pd.DataFrame(columns).join(features_of(pd.DataFrame(raw), project))


def outcomes(env: Environment, project: Project, keys: list[str]) -> pd.Series:
    """The target of those `keys` for which it is known by now: 0 or 1, indexed by entity key."""
    data = project.data
    query = sql.SQL("SELECT {key}::text, {target}::integer FROM {table} WHERE {key} = ANY(%s) AND {target} IS NOT NULL")
    with connect(env) as connection:
        mart.check_columns(connection, project)
        found = connection.execute(
            query.format(
                key=sql.Identifier(data.entity_key), target=sql.Identifier(data.target), table=mart.table(project)
            ),
            (keys,),
        ).fetchall()
    return pd.Series(dict(found), dtype="int64")


def await_stored(env: Environment, prediction_id: str) -> None:
    """Wait until a prediction has come from the model server's journal into the database; StepError if it does not."""
    deadline = time.monotonic() + STORED_SECONDS
    with open_database(env.predictions_url, autocommit=True) as connection:
        # An id is a UUID of version 7 (RFC 9562) and begins with its moment, which tells the partition.
        made_at = datetime.fromtimestamp((UUID(prediction_id).int >> 80) / 1000, UTC)
        query = "SELECT 1 FROM predictions WHERE created_at = %s AND prediction_id = %s"
        while connection.execute(query, (made_at, prediction_id)).fetchone() is None:
            if time.monotonic() > deadline:
                raise StepError(
                    f"the predictions were answered, but are not in the database after {STORED_SECONDS:g} s",
                    where="PREDICTIONS_URL",
                    do="the service serving-journal brings them there: `platform logs serving-journal`",
                )
            time.sleep(STORED_POLL_SECONDS)
