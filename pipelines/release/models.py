"""The versions of the registered models, as facts: where each stands, what it was made of, how two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from contract import ALIAS_CHAMPION, GATE_TAG, SERVING_STATUS_TAG, SNAPSHOT_TAG
from pipelines import tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.gate.card import FILE_NAME as CARD
from pipelines.project import METRICS, load_project
from pipelines.release import actions
from pipelines.release.store import Row, Store, opened
from pipelines.warehouse import connect

TEST = "test_"
"""Before the name of a metric of the test window, among those of a training run."""
REPORTS_SHOWN = 5

Facts = dict[str, Any]


def listed(env: Environment, project: str | None, limit: int) -> list[Facts]:
    """The newest `limit` versions of one model or of each, newest first."""
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        found = client.search_registered_models(f"name = '{project}'" if project else None, max_results=1000)
        if project is not None and not found:
            raise StepError(
                f"there is no model {project!r}, or this account may not see it",
                where="MLflow",
                do="see `platform models list`; a project has one once it has registered a version",
            )
        return [
            _brief(client, version, {alias: int(number) for alias, number in model.aliases.items()}, metric)
            for model in sorted(found, key=lambda model: model.name)
            for metric in (_declared_metric(env, model.name),)
            for version in _versions(client, model.name, limit)
        ]


def shown(env: Environment, project: str, version: int | None) -> Facts:
    """All about one version, the champion if none is given."""
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        aliases = actions.aliases(client, project)
        found = _version(client, project, version or aliases.get(ALIAS_CHAMPION))
        run = _run(client, found)
        with opened(env) as store:
            releases = [
                _release(row, store) for row in store.history(project, 1000) if row.version == int(found.version)
            ]
        facts = _brief(client, found, aliases, _declared_metric(env, project), run)
        facts |= {
            "metrics": _metrics(run),
            "parameters": dict(run.data.params) if run else {},
            "features": _features(found),
            "snapshot": found.tags.get(SNAPSHOT_TAG),
            "commit": found.tags.get(tracking.COMMIT_TAG),
            "promoted": found.tags.get(actions.PROMOTED_TAG),
            "previous_champion": found.tags.get(actions.PREVIOUS_TAG),
            "serving": found.tags.get(SERVING_STATUS_TAG),
            "releases": releases,
            "reports": _reports(env, project, int(found.version)),
        }
        return facts | _links(env, client, run)


def compared(env: Environment, project: str, first: int, second: int) -> Facts:
    """Two versions and what differs between them: metrics, parameters, data, features, code."""
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        aliases = actions.aliases(client, project)
        metric = _declared_metric(env, project)
        sides = []
        for number in (first, second):
            version = _version(client, project, number)
            run = _run(client, version)
            sides.append((_brief(client, version, aliases, metric, run), dict(_comparable(version, run))))
    (one, its), (other, others) = sides
    names = list(dict.fromkeys([*its, *others]))
    differences = {name: [its.get(name), others.get(name)] for name in names if its.get(name) != others.get(name)}
    return {"first": one, "second": other, "differences": differences}


def _versions(client: MlflowClient, model: str, limit: int) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{model}'", max_results=limit, order_by=["version_number DESC"]))


def _version(client: MlflowClient, model: str, number: int | None) -> ModelVersion:
    if number is None:
        raise StepError(
            "it has no champion", where=f"model {model}", do=f"name a version; see `platform models list {model}`"
        )
    found = client.search_model_versions(f"name = '{model}' and version_number = {number}")
    if not found:
        raise StepError(
            f"there is no version {number}", where=f"model {model}", do=f"see `platform models list {model}`"
        )
    return found[0]


def _run(client: MlflowClient, version: ModelVersion) -> Run | None:
    """The training run of a version, if it is still there."""
    try:
        return client.get_run(str(version.run_id))
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"}:
            raise
        return None


def _declared_metric(env: Environment, project: str) -> str | None:
    """The metric that the project is judged by; None where its declaration is gone or wrong."""
    try:
        return load_project(env.repo, project).evaluation.metric
    except StepError:
        return None


def _brief(
    client: MlflowClient, version: ModelVersion, aliases: Mapping[str, int], metric: str | None, run: Run | None = None
) -> Facts:
    """A version in one line, with the declared `metric`; where that is not known, with the first of its task."""
    metrics = _metrics(run or _run(client, version))
    candidates = (metric, *(names[0] for names in METRICS.values()))
    leading = next((name for name in candidates if name in metrics), None)
    number = int(version.version)
    return {
        "model": version.name,
        "version": number,
        "aliases": sorted(alias for alias, its in aliases.items() if its == number),
        "release": version.tags.get(actions.RELEASE_TAG),
        "gate": version.tags.get(GATE_TAG),
        "metric": leading,
        "value": metrics.get(leading) if leading else None,
        "created_at": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        "actor": version.tags.get(tracking.ACTOR_TAG),
        "run_id": version.run_id,
    }


def _metrics(run: Run | None) -> dict[str, float]:
    """The metrics on the test window."""
    found = run.data.metrics if run else {}
    return {name.removeprefix(TEST): value for name, value in sorted(found.items()) if name.startswith(TEST)}


def _features(version: ModelVersion) -> list[str]:
    """The features that the version was trained with, as its signature has them."""
    import mlflow.models  # noqa: PLC0415 (half a second, and only here)

    signature = mlflow.models.get_model_info(f"models:/{version.name}/{version.version}").signature
    return list(signature.inputs.input_names()) if signature is not None and signature.inputs else []


def _comparable(version: ModelVersion, run: Run | None) -> Iterator[tuple[str, Any]]:
    yield from _metrics(run).items()
    if run is not None:
        yield from sorted(run.data.params.items())
    yield "features", ", ".join(_features(version))
    for name, tag in (("snapshot", SNAPSHOT_TAG), ("commit", tracking.COMMIT_TAG), ("gate", GATE_TAG)):
        yield name, version.tags.get(tag)


def _release(row: Row, store: Store) -> Facts:
    """A release of the version, with what was seen last."""
    seen = store.observations(row)
    names = ("strategy", "state", "champion", "started_at", "ended_at", "actor", "reason")
    return {"release": row.id, **{name: getattr(row, name) for name in names}, "step": row.step + 1} | (
        {"figures": seen[0]["figures"]} if seen else {}
    )


def _reports(env: Environment, project: str, version: int) -> list[Facts]:
    """The newest looks of the monitor at the version."""
    names = ("monitored_at", "predictions", "labelled", "drift", "drift_share", "performance", "report_url")
    query = (
        "SELECT monitored_at, predictions, labelled, drift, drift_share, performance, report_url FROM monitoring.runs "
        "WHERE project = %s AND version = %s ORDER BY monitored_at DESC LIMIT %s"
    )
    with connect(env) as connection:
        try:
            found = connection.execute(query, (project, version, REPORTS_SHOWN)).fetchall()
        except psycopg.errors.UndefinedTable:
            return []
    return [dict(zip(names, row, strict=True)) for row in found]


def _links(env: Environment, client: MlflowClient, run: Run | None) -> Facts:
    """Where a browser finds the training run and the model card, as far as they are there."""
    if run is None:
        return {"run_url": None, "card_url": None}
    address = f"{env.mlflow_pages}/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    carded = any(item.path == CARD for item in client.list_artifacts(run.info.run_id))
    return {"run_url": address, "card_url": f"{address}/artifacts/{CARD}" if carded else None}
