"""OpenLineage events (spec 2-0-2) of the steps and of the dbt models, to a file or to an HTTP endpoint.

The setting OPENLINEAGE_TO says where: ``none``, ``file`` (``openlineage.ndjson`` in the steps' directory, one event a
line), the path of another file, or the address of an endpoint that takes events as Marquez does
(``http://host:5000/api/v1/lineage``).
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pipelines.environment import Environment
from pipelines.lineage import store
from pipelines.lineage.datasets import PRODUCER, Moved, facet, of_step, table
from pipelines.project import Project
from pipelines.warehouse import connect

Event = dict[str, Any]

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
NAMESPACE = "mlops-platform"
FILE = "openlineage.ndjson"
MAX_BYTES = 20_000_000
"""A file that is longer becomes ``<name>.1`` in place of the one before; an endpoint is the way to keep all."""
SEND_SECONDS = 5.0

_FACETS = "https://openlineage.io/spec/facets"
_PARENT = f"{_FACETS}/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet"
_ERROR = f"{_FACETS}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
_ENGINE = f"{_FACETS}/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet"
_PARAMETERS = f"{_FACETS}/1-0-0/ExecutionParametersRunFacet.json#/$defs/ExecutionParametersRunFacet"
_JOB_TYPE = f"{_FACETS}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
_SOURCE = f"{_FACETS}/1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet"


def step_event(
    env: Environment,
    project: Project,
    step: str,
    record: int,
    kind: str,
    *,
    parameters: dict[str, Any],
    result: dict[str, Any] | None = None,
    error: str | None = None,
) -> Event | None:
    """The event `kind` (START, COMPLETE, FAIL) of the step with the id `record` in ``lineage.steps``; None for a step
    that moves no data."""
    moved = of_step(env, project, step, {**parameters, **(result or {})})
    if moved is None:
        return None
    given = [{"key": name, "value": str(value)} for name, value in parameters.items() if value is not None]
    facets = {"parameters": facet(_PARAMETERS, parameters=given)}
    if error:
        facets["errorMessage"] = facet(_ERROR, message=error, programmingLanguage="Python")
    run = f"{env.pipeline_run}/{project.name}/{step}/{record}"
    job = _job(f"{project.name}.{step}", "MLOPS-PLATFORM", "STEP")
    event = _event(kind, datetime.now(UTC), run, job, moved)
    event["run"]["facets"] |= facets | {"parent": _parent(env.pipeline_run, project.name)}
    if env.commit != "unknown":
        where = (env.repo / "projects" / project.name).as_uri()
        event["job"]["facets"]["sourceCodeLocation"] = facet(_SOURCE, type="git", url=where, version=env.commit)
    return event


def dbt_events(env: Environment, run: dict[str, Any]) -> list[Event]:
    """START and COMPLETE or FAIL of every model of a row of ``lineage.dbt_runs`` that was tried."""
    events = []
    for model in run["models"]:
        if model["status"] == "skipped":
            continue
        name = f"{run['project']}.dbt.{model['table']}"
        inputs = [table(env.warehouse_url, item) for item in model["inputs"]]
        outputs = [table(env.warehouse_url, model["table"])]
        for kind, at in (
            ("START", run["started_at"]),
            ("COMPLETE" if model["status"] == "success" else "FAIL", run["ended_at"]),
        ):
            job = _job(name, "DBT", "MODEL")
            event = _event(kind, at, f"{run['invocation_id']}/{name}", job, (inputs, outputs))
            engine = facet(_ENGINE, name="dbt", version=run["dbt_version"])
            event["run"]["facets"] |= {"processing_engine": engine}
            if run["pipeline_run"]:
                event["run"]["facets"]["parent"] = _parent(run["pipeline_run"], run["project"])
            events.append(event)
    return events


def emit(env: Environment, project: Project, event: Event | None) -> None:
    """Send an event, and those of the dbt runs of the project that nobody has sent yet.

    Raises:
        OSError: the file cannot be written; the endpoint does not answer or refuses.
        psycopg.Error, StepError: the warehouse does not answer or refuses.
    """
    if event:
        send(env, [event])
    with connect(env) as connection:
        # Both or neither: what could not be sent is sent with the next step.
        runs = store.unsent_dbt_runs(connection, project.name)
        send(env, [made for run in runs for made in dbt_events(env, run)])


def send(env: Environment, events: Sequence[Event]) -> None:
    """Send events to where the setting says; OSError if that does not take them."""
    if not events:
        return
    target = env.openlineage_to
    if target.startswith(("http://", "https://")):
        _post(target, events)
    else:
        file = env.state_dir / FILE if target == "file" else Path(target)
        _append(file, "".join(f"{json.dumps(event)}\n" for event in events))


def _post(address: str, events: Sequence[Event]) -> None:
    import httpx  # noqa: PLC0415 (most steps write to a file)

    try:
        with httpx.Client(timeout=SEND_SECONDS) as client:
            for event in events:
                client.post(address, json=event).raise_for_status()
    except httpx.HTTPError as error:
        raise OSError(f"{address}: {error}") from error


def _append(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        # Steps write at the same time, and one of them may find the file too long.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists() and file.stat().st_size > MAX_BYTES:
            file.replace(file.with_name(f"{file.name}.1"))
        with file.open("a", encoding="utf-8") as target:
            target.write(text)


def _event(kind: str, at: datetime, run: str, job: dict[str, Any], moved: Moved) -> Event:
    return {
        "eventType": kind,
        "eventTime": at.isoformat(),
        "run": {"runId": _run_id(run), "facets": {}},
        "job": job,
        "inputs": moved[0],
        "outputs": moved[1],
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }


def _job(name: str, integration: str, job_type: str) -> dict[str, Any]:
    described = facet(_JOB_TYPE, processingType="BATCH", integration=integration, jobType=job_type)
    return {"namespace": NAMESPACE, "name": name, "facets": {"jobType": described}}


def _parent(pipeline_run: str, project: str) -> dict[str, Any]:
    """The pipeline run as the parent: its job is the DAG, or the project where a person started the step."""
    scheme, _, rest = pipeline_run.partition(":")
    job = rest.partition("/")[0] if scheme == "airflow" else project
    run = {"runId": _run_id(f"{pipeline_run}/{project}")}
    return facet(_PARENT, run=run, job={"namespace": NAMESPACE, "name": job})


def _run_id(name: str) -> str:
    """The same UUID (version 5) for the same run in every event."""
    return str(uuid5(NAMESPACE_URL, f"{PRODUCER}:{name}"))
