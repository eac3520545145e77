"""The assets that link a project's DAGs, and what started a run of one of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset

from pipelines.project import Project

NEW_DATA, DEMAND, SCHEDULE = "new_data", "demand", "schedule"
BY_ASSETS = "asset_triggered"
BY_TIME = frozenset({"scheduled", "backfill"})


def mart_asset(project: Project) -> Asset:
    """New rows are in the project's mart, and they passed its tests."""
    return Asset(f"{project.name}/mart")


def retrain_asset(project: Project) -> Asset:
    """What the monitor found asks for a training; the event's extra says why (`trigger`, `evidence`)."""
    return Asset(f"{project.name}/retrain")


def candidate_asset(project: Project) -> Asset:
    """A candidate of the project has been judged and registered."""
    return Asset(f"{project.name}/candidate")


def trigger_of(run_type: str, events: Mapping[Any, Sequence[Any]]) -> str:
    """What started a run of the training: the name that the step `decide` takes.

    The monitor's reason counts more than data that arrived at the same time.
    """
    if run_type == BY_ASSETS:
        return next((extra["trigger"] for extra in _extras(events) if "trigger" in extra), NEW_DATA)
    return SCHEDULE if run_type in BY_TIME else DEMAND


def evidence_of(events: Mapping[Any, Sequence[Any]]) -> dict[str, Any]:
    """What the monitor found, if it started the run."""
    return next((extra["evidence"] for extra in _extras(events) if "evidence" in extra), {})


def pass_on(context: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Put the reason of the step `due` on the event of the asset that its task emits."""
    extra = {"trigger": result["trigger"], "evidence": result["evidence"]}
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra.update(extra)


def _extras(events: Mapping[Any, Sequence[Any]]) -> list[dict[str, Any]]:
    """What the events say, the newest first."""
    found = [event for of_asset in events.values() for event in of_asset]
    return [event.extra or {} for event in sorted(found, key=lambda event: event.timestamp, reverse=True)]
