"""What the model server answered, and what turned out to be true."""

from __future__ import annotations

import pandas as pd
import psycopg
from psycopg import sql

from pipelines import mart
from pipelines.dataset import features_of
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project
from pipelines.warehouse import connect, open_database


def recent(env: Environment, project: Project, version: int, rows: int) -> pd.DataFrame:
    """The newest `rows` predictions of the version, newest first: `created_at`, `entity_key`, `probability`, features.

    Features have the types that a training has.
    """
    query = (
        "SELECT created_at, entity_key, probability, features FROM predictions "
        "WHERE model = %s AND version = %s AND probability IS NOT NULL ORDER BY created_at DESC LIMIT %s"
    )
    with open_database(env.predictions_url) as connection:
        try:
            found = connection.execute(query, (project.name, version, rows)).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            raise StepError(
                f"the predictions cannot be read: {error.diag.message_primary}",
                where="PREDICTIONS_URL",
                do="the model server makes the table when it starts, and lets the pipelines read it: start it",
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
