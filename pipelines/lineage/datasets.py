"""What each step reads and writes, as datasets in the words of OpenLineage.

Names follow https://openlineage.io/docs/spec/naming: a table is ``postgres://host:port`` / ``database.schema.table``,
an object ``s3://bucket`` / ``key``. What lies in MLflow has no naming there; here it is MLflow's address / ``runs/ID``
or ``models/NAME/VERSION``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.environment import Environment
from pipelines.project import Project

Dataset = dict[str, Any]
Values = dict[str, Any]
Moved = tuple[list[Dataset], list[Dataset]]
PRODUCER = "urn:mlops-platform:pipelines"
_FACETS = "https://openlineage.io/spec/facets"
_SCHEMA = f"{_FACETS}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet"
_VERSION = f"{_FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
_STATISTICS = f"{_FACETS}/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"


def facet(schema: str, **fields: Any) -> dict[str, Any]:
    """A facet with what every facet has to have."""
    return {"_producer": PRODUCER, "_schemaURL": schema, **fields}


def of_step(
    env: Environment, project: Project, step: str, values: Values
) -> tuple[list[Dataset], list[Dataset]] | None:
    """What `step` reads and what it writes, as far as `values` (its parameters, then its result too) tell; None for a
    step that moves no data."""
    find = _STEPS.get(step)
    return find(_Known(env, project, values)) if find else None


def table(url: str, name: str, rows: int | None = None) -> Dataset:
    """The table `name` (schema.table) of the database at `url`; `rows` says how many were written."""
    parts = urlsplit(url)
    found = {"namespace": f"postgres://{parts.hostname}:{parts.port or 5432}", "name": f"{parts.path[1:]}.{name}"}
    return _counted(found, rows)


def _counted(dataset: Dataset, rows: int | None) -> Dataset:
    if rows is None:
        return dataset
    return {**dataset, "outputFacets": {"outputStatistics": facet(_STATISTICS, rowCount=rows)}}


def _object(uri: str) -> Dataset:
    parts = urlsplit(uri)
    return {"namespace": f"{parts.scheme}://{parts.netloc}", "name": parts.path.lstrip("/")}


def _in_mlflow(env: Environment, name: str) -> Dataset:
    return {"namespace": env.mlflow_uri, "name": name}


@dataclass(frozen=True)
class _Known:
    """What is known of a step when its event is made."""

    env: Environment
    project: Project
    values: Values

    def mart(self) -> Dataset:
        data = self.project.data
        columns = {data.entity_key: "category", data.event_time: "timestamp", data.target: "target", **data.features}
        fields = [{"name": name, "type": kind} for name, kind in columns.items()]
        return {**table(self.env.warehouse_url, data.table), "facets": {"schema": facet(_SCHEMA, fields=fields)}}

    def run(self) -> list[Dataset]:
        run_id = self.values.get("run_id")
        return [_in_mlflow(self.env, f"runs/{run_id}")] if run_id else []


def _land(it: _Known) -> Moved:
    return [], [_object(f"s3://{it.env.landing_bucket}/{key}") for key in it.values.get("files", [])]


def _sync(it: _Known) -> Moved:
    written = [table(it.env.warehouse_url, name, rows) for name, rows in it.values.get("tables", {}).items()]
    return [_object(uri) for uri in it.values.get("files", [])], written


def _snapshot(it: _Known) -> Moved:
    if "uri" not in it.values:
        return [it.mart()], []
    written = _counted(_object(it.values["uri"]), it.values["rows"])
    return [it.mart()], [written | {"facets": {"version": facet(_VERSION, datasetVersion=it.values["digest"])}}]


def _train(it: _Known) -> Moved:
    uri = it.values.get("snapshot")
    return [_object(uri)] if uri else [], it.run()


def _evaluate(it: _Known) -> Moved:
    return it.run(), []


def _register(it: _Known) -> Moved:
    version = it.values.get("version")
    return it.run(), [_in_mlflow(it.env, f"models/{it.project.name}/{version}")] if version else []


def _monitor(it: _Known) -> Moved:
    read = [table(it.env.predictions_url, "public.predictions"), it.mart()]
    return read, [table(it.env.warehouse_url, "monitoring.runs")]


def _score(it: _Known) -> Moved:
    made = _counted(_place(it.env, it.values["target"]), it.values.get("rows"))
    version = it.values.get("version")
    model = [_in_mlflow(it.env, f"models/{it.project.name}/{version}")] if version else []
    return [_place(it.env, it.values["source"]), *model], [made]


def _place(env: Environment, name: str) -> Dataset:
    """A table of the warehouse, or a file of this machine."""
    file = Path(name)
    if "/" in name or file.suffix in {".parquet", ".csv"}:
        return {"namespace": "file", "name": str(file.absolute())}
    return table(env.warehouse_url, name)


_STEPS: dict[str, Callable[[_Known], Moved]] = {
    "land": _land,
    "sync": _sync,
    "ingest": _sync,
    "snapshot": _snapshot,
    "train": _train,
    "evaluate": _evaluate,
    "register": _register,
    "monitor": _monitor,
    "score": _score,
}
