"""Where a prediction comes from: the model version, the run, the code, the snapshot, the dbt run, the sync, the files.

Each link is looked up by itself. One that is gone or was never recorded is named with the reason, and the others are
told all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from psycopg.rows import dict_row

from contract import DIGEST_TAG, GATE_TAG, SNAPSHOT_TAG
from pipelines import objects, tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage.history import LINKS, History, Row
from pipelines.project import Project, load_project
from pipelines.warehouse import open_database

Found = TypeVar("Found")
_FIELDS = "created_at, model, version, role, entity_key, prediction, probability, latency_ms, caller, request_id"


class Trace:
    """The links of one prediction, gathered one after another; `links` and `notes` are the outcome.

    `links` has a value for every name of `LINKS` (None for one that is not there), `notes` says why one is not there,
    and `missing` names those that should be.
    """

    def __init__(self, env: Environment, prediction_id: str) -> None:
        self.env = env
        self.history = History(env)
        self.links: dict[str, Any] = dict.fromkeys(LINKS)
        self.notes: dict[str, str] = {}
        self.missing: list[str] = []
        self.links["prediction"] = _prediction(env, prediction_id)
        self.client = tracking.connect(env)
        self._gather()

    def as_json(self) -> dict[str, Any]:
        """The whole trace; `complete` if nothing is missing."""
        return {**self.links, "notes": self.notes, "missing": self.missing, "complete": not self.missing}

    def _gather(self) -> None:
        prediction = self.links["prediction"]
        name, number = prediction["model"], prediction["version"]
        self.links["model"] = version = self._look("model", lambda: _version(self.env, self.client, name, number))
        run_id = version["run_id"] if version else self._registered_run(name, number)
        run = self._look("run", lambda: _run(self.client, run_id))
        project = self._project(name)
        if run:
            step = self.history.step_with(name, "train", {"run_id": run.info.run_id, "reused": False})
            pipeline_run = step["pipeline_run"] if step else None
            self.links["run"] = {**_run_facts(self.env, run, project), "pipeline_run": pipeline_run}
        if run is None:
            for link in LINKS[3:]:
                self._miss(link, "it is known by the training run alone")
            return
        self.links["code"] = _code(self.env, run)
        uri = run.data.tags.get(SNAPSHOT_TAG)
        if not uri:
            self._miss("snapshot", "the run names none")
        taken_at, self.links["snapshot"] = self._snapshot(name, run, uri or "")
        table = _table(run, project)
        built_at = self._dbt_run(project, table, taken_at)
        self._syncs(name, project, table, built_at)

    def _look(self, link: str, find: Callable[[], Found]) -> Found | None:
        try:
            return find()
        except StepError as error:
            self._miss(link, error.what)
        except MlflowException as error:
            self._miss(link, f"MLflow does not tell it: {error.message}".splitlines()[0])
        return None

    def _miss(self, link: str, why: str) -> None:
        self.missing.append(link)
        self.notes[link] = why

    def _project(self, name: str) -> Project | None:
        """The declaration as it is now; None where it is gone or wrong."""
        try:
            return load_project(self.env.repo, name)
        except StepError:
            return None

    def _registered_run(self, name: str, version: int) -> str | None:
        """The run that the record has for a version which the registry has lost."""
        row = self.history.step_with(name, "register", {"version": version})
        return str(row["result"]["run_id"]) if row else None

    def _snapshot(self, name: str, run: Run, uri: str) -> tuple[datetime, Row | None]:
        """When the mart was read for the run, and what is known of the snapshot."""
        began = _moment(run.info.start_time)
        row = self.history.step_with(name, "snapshot", {"uri": uri}, before=began)
        result = row["result"] if row else {}
        facts: Row = {
            "uri": uri,
            "rows": result.get("rows"),
            "from": result.get("from"),
            "to": result.get("to"),
            "taken_at": row["ended_at"] if row else None,
        }
        if uri:
            self._look("snapshot", lambda: _check_stored(self.env, uri))
        taken_at = row["started_at"] if row else began
        return taken_at, facts if uri else None

    def _dbt_run(self, project: Project | None, table: str | None, before: datetime) -> datetime:
        """The dbt run that built the mart as it was read; returns when it began, or `before` without one."""
        row = self.history.dbt_run_of(table, before) if table else None
        if row:
            built = next(model for model in row["models"] if model["table"] == table)
            self.links["dbt_run"] = {
                "invocation_id": row["invocation_id"],
                "pipeline_run": row["pipeline_run"],
                "started_at": row["started_at"],
                "ended_at": row["ended_at"],
                "dbt_version": row["dbt_version"],
                "table": table,
                "inputs": built["inputs"],
                "models": len(row["models"]),
                "tests": row["tests"],
            }
            return row["started_at"]
        if project and project.data.dbt_select is None:
            self.notes["dbt_run"] = f"the project builds nothing: others fill {project.data.table}"
        else:
            self._miss("dbt_run", f"no recorded run had built {table or 'the table'} by {before:%Y-%m-%d %H:%M:%S} UTC")
        return before

    def _syncs(self, name: str, project: Project | None, table: str | None, before: datetime) -> None:
        """The newest sync of each connection before the mart was built, and all files that had been loaded by then."""
        if project and not project.data.connections:
            self.notes["sync"] = self.notes["files"] = "the project loads nothing: it declares no connection"
            return
        # Without its dbt run nobody knows which tables the mart was made from; without dbt it is filled itself.
        tables = None
        if table and "dbt_run" not in self.missing:
            built = self.links["dbt_run"]
            tables = self.history.sources_of(table, name, built["ended_at"] if built else before)
        rows = self.history.syncs_of(name, tables, before)
        if not rows:
            self._miss("sync", f"no sync is recorded before {before:%Y-%m-%d %H:%M:%S} UTC")
            self._miss("files", "they are known by the syncs alone")
            return
        newest = {row["connection"]: row for row in reversed(rows)}
        fields = ("connection", "connector", "pipeline_run", "started_at", "ended_at", "streams")
        self.links["sync"] = [{field: row[field] for field in fields} for row in newest.values()]
        files = {
            file["uri"]: {**file, "synced_at": row["ended_at"]}
            for row in reversed(rows)
            for file in row["files"]
            if tables is None or file["stream"] in tables
        }
        self.links["files"] = [files[uri] for uri in sorted(files)]


def _table(run: Run, project: Project | None) -> str | None:
    """The mart that the run's snapshot was taken of."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return str(inputs[0].dataset.name) if inputs else project.data.table if project else None


def _prediction(env: Environment, prediction_id: str) -> Row:
    """The stored prediction that was answered, and what shadows said of the same record."""
    uuid, made_at = _read_id(prediction_id)
    with open_database(env.predictions_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            f"SELECT {_FIELDS} FROM predictions WHERE created_at = %s AND prediction_id = %s"  # noqa: S608 (a constant)
            " ORDER BY role = 'shadow', role",
            (made_at, uuid),
        ).fetchall()
    if not found:
        raise StepError(
            f"there is no prediction {uuid} (it would be of {made_at:%Y-%m-%d %H:%M:%S} UTC)",
            where="PREDICTIONS_URL",
            do="one that was just made comes within seconds; old ones go after SERVING_RETENTION_DAYS",
        )
    answered, *shadows = found
    others = [{key: row[key] for key in ("role", "version", "prediction", "probability")} for row in shadows]
    return {"prediction_id": str(uuid), **answered, "shadows": others}


def _read_id(prediction_id: str) -> tuple[UUID, datetime]:
    """The id, and the moment it was made at, which tells the partition: the first 48 bits of a UUID of version 7 are
    milliseconds since 1970 (RFC 9562, 5.7)."""
    try:
        uuid = UUID(prediction_id)
        if uuid.version != 7:
            raise ValueError("of another version")
        return uuid, datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
    except ValueError:  # also of a moment after the year 9999
        raise StepError(
            f"{prediction_id!r} is not the id of a prediction",
            do="give the `prediction_id` that the model server answered with",
        ) from None


def _version(env: Environment, client: MlflowClient, name: str, number: int) -> Row:
    """The model version in the registry."""
    # With authentication on, asking for what is not there is refused as forbidden; a search shows what there is.
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        raise StepError(f"the model {name} is no longer in the registry")
    version = client.get_model_version(name, str(number))
    aliases = client.get_registered_model(name).aliases
    return {
        "name": name,
        "version": number,
        "url": f"{env.mlflow_pages}/models/{name}/versions/{number}",
        "aliases": sorted(alias for alias, target in aliases.items() if int(target) == number),
        "gate": version.tags.get(GATE_TAG),
        "registered_at": _moment(version.creation_timestamp),
        "registered_by": version.tags.get(tracking.ACTOR_TAG),
        "digest": version.tags.get(DIGEST_TAG),
        "run_id": str(version.run_id),
    }


def _run(client: MlflowClient, run_id: str | None) -> Run:
    if run_id is None:
        raise StepError("the model version alone knows it, and the record has no registration of that version")
    return client.get_run(run_id)


def _run_facts(env: Environment, run: Run, project: Project | None) -> Row:
    tags, parameters = run.data.tags, run.data.params
    decisive = f"test_{project.evaluation.metric}" if project else ""
    names = [name for name in sorted(run.data.metrics) if name.startswith("test_")]
    names.sort(key=lambda name: name != decisive)
    return {
        "run_id": run.info.run_id,
        "url": f"{env.mlflow_pages}/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
        "started_at": _moment(run.info.start_time),
        "started_by": tags.get(tracking.ACTOR_TAG),
        "train_from": parameters.get("train_from"),
        "train_to": parameters.get("train_to"),
        "metrics": {name: run.data.metrics[name] for name in names},
    }


def _code(env: Environment, run: Run) -> Row:
    commit = run.data.tags.get(tracking.COMMIT_TAG, "unknown")
    found = re.fullmatch(r"([0-9a-f]{7,64})(-dirty)?", commit)
    return {
        "commit": commit,
        "clean": bool(found and not found[2]),
        "subject": env.commit_subject(found[1]) if found else "",
        "project_digest": run.data.tags.get(tracking.SOURCE_TAG),
    }


def _check_stored(env: Environment, uri: str) -> None:
    bucket, key = objects.split_uri(uri)
    with objects.s3_errors(uri):
        if not objects.exists(objects.client(env), bucket, key):
            raise StepError(f"the file is gone: {uri}")


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
