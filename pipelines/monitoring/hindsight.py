"""Step `hindsight`: what was answered for a month, and what one version would have answered, against what happened."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql

from contract import DIGEST_TAG
from pipelines import tracking
from pipelines.data import mart
from pipelines.data.dataset import features_of
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.models.scoring import predict
from pipelines.monitoring import predictions
from pipelines.progress import say
from pipelines.project import Project
from pipelines.training import metrics
from pipelines.warehouse import connect


def run(env: Environment, project: Project, month: int, version: int) -> dict[str, Any]:
    """Compare, on the entities of the month that were answered and whose outcome is known.

    What counts as the answer to an entity is the first one, by whichever version callers were answered with: a later
    one may come from a model that has learned the outcome.

    Returns `metric` (the declared one), `rows`, `answered` and `frozen` (the metrics of the answers, and of `version`
    on the same rows), and `versions` (how many rows each version answered).
    """
    rows = _labelled(env, project, month)
    given = _first_answers(env, project, list(rows.index))
    rows = rows.loc[rows.index.intersection(given.index)]
    if rows.empty:
        raise StepError(
            f"nothing was answered for month {month} whose outcome is known",
            where=project.name,
            do=f"send its rows first: `replay {project.name} --month {month}`",
        )
    given = given.loc[rows.index]
    y, answers = rows[project.data.target], given["answer"].to_numpy(dtype=float)
    client = tracking.connect(env)
    with tracking.mlflow_errors(env), tempfile.TemporaryDirectory() as scratch:
        where = f"{project.name} version {version}"
        digest = client.get_model_version(project.name, str(version)).tags.get(DIGEST_TAG, "")
        directory = model_store.download(f"models:/{project.name}/{version}", Path(scratch))
        frozen = predict(model_store.load(directory, digest, where), features_of(rows, project), where)
    metric = project.evaluation.metric
    found: dict[str, Any] = {
        "month": month,
        "metric": metric,
        "rows": len(rows),
        "answered": metrics.figures(project.task, y, answers),
        "frozen": metrics.figures(project.task, y, frozen),
        "versions": {str(number): int(count) for number, count in given["version"].value_counts().sort_index().items()},
    }
    say(f"  {metric}: answered {found['answered'][metric]:.4f}, version {version} alone {found['frozen'][metric]:.4f}")
    return found


def _labelled(env: Environment, project: Project, month: int) -> pd.DataFrame:
    """The labelled rows of the month, indexed by entity key."""
    data = project.data
    query = sql.SQL(
        "SELECT {columns} FROM {table} WHERE extract(month FROM {time}) = %s AND {target} IS NOT NULL"
    ).format(
        columns=mart.columns(project),
        table=mart.table(project),
        time=sql.Identifier(data.event_time),
        target=sql.Identifier(data.target),
    )
    with connect(env) as connection:
        mart.check_columns(connection, project)
        cursor = connection.execute(query, (month,))
        names = [column.name for column in cursor.description or ()]
        return pd.DataFrame(cursor.fetchall(), columns=names).set_index(data.entity_key)


def _first_answers(env: Environment, project: Project, keys: list[str]) -> pd.DataFrame:
    """The first answer that callers got for each of `keys`: `answer`, `version`, indexed by entity key."""
    query = sql.SQL(
        "SELECT DISTINCT ON (entity_key) entity_key, {answer} AS answer, version FROM predictions "
        "WHERE model = %s AND entity_key = ANY(%s) AND role IN ('champion', 'canary') ORDER BY entity_key, created_at"
    ).format(answer=predictions.ANSWER[project.task])
    with predictions.opened(env) as connection:
        found = connection.execute(query, (project.name, keys)).fetchall()
    return pd.DataFrame(found, columns=["entity_key", "answer", "version"]).set_index("entity_key").dropna()
