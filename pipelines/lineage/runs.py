"""The pipeline runs: which there were, what one did, how two differ."""

from __future__ import annotations

from typing import Any

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage.history import History, Row

_FACTS = ("id", "project", "state", "trigger", "actor", "commit", "started_at", "ended_at", "seconds", "started_from")
_STEP_FACTS = (
    "step",
    "state",
    "started_at",
    "ended_at",
    "seconds",
    "attempts",
    "actor",
    "parameters",
    "result",
    "error",
)
_ALWAYS_DIFFER = ("run_id", "seconds", "card")


def listed(env: Environment, project: str | None, limit: int) -> list[Row]:
    """The newest `limit` pipeline runs (of `project`), each with the state of every step in order."""
    return [{**_facts(row), "steps": row["steps"]} for row in History(env).pipeline_runs(project, limit)]


def described(env: Environment, name: str) -> Row:
    """Everything that is known of the pipeline run `name`: its id or a part of it that no other one has, or an MLflow
    run of it. Each step has `artifacts`, the addresses of what it read and made.

    Raises:
        StepError: there is none, or more than one.
    """
    history = History(env)
    row = _found(history, name)
    steps = [
        {fact: step[fact] for fact in _STEP_FACTS} | {"artifacts": artifacts(env, step["parameters"], step["result"])}
        for step in history.steps(row["id"], row["project"])
    ]
    return {
        **_facts(row),
        "versions": row["versions"],
        "mlflow_run_id": row["mlflow_run_id"],
        "steps": steps,
        "dbt_runs": history.dbt_runs(row["id"], row["project"]),
    }


def compared(env: Environment, first: str, second: str) -> dict[str, Any]:
    """Two pipeline runs, and `differences`: what is not the same in both, by its name."""
    one, other = described(env, first), described(env, second)
    return {"first": one, "second": other, "differences": differences(facts_of(one), facts_of(other))}


def facts_of(run: Row) -> dict[str, Any]:
    """What decides or shows how a run went, flat: ``step.parameters.x``, ``step.result.metrics.y``, ``versions.z``.

    When it ran and what its own results are called is not among them: that always differs.
    """
    facts: dict[str, Any] = {name: run[name] for name in ("state", "trigger", "actor", "commit", "started_from")}
    facts |= {f"versions.{name}": value for name, value in run["versions"].items()}
    for step in run["steps"]:
        of_step = {key: step[key] for key in ("state", "attempts", "seconds", "error")}
        for part in ("parameters", "result"):
            of_step[part] = {key: value for key, value in (step[part] or {}).items() if key not in _ALWAYS_DIFFER}
        facts |= _flat(step["step"], of_step)
    return facts


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The names whose values differ, with both; None stands for what is not there."""
    names = list(dict.fromkeys([*one, *other]))
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def artifacts(env: Environment, parameters: dict[str, Any], result: dict[str, Any] | None) -> list[str]:
    """The addresses in what a step was given and what it returned, and those of its MLflow run and model version."""
    values = {**parameters, **(result or {})}
    found = [value for value in _texts(values) if "://" in value and " " not in value]
    if values.get("run_id"):
        found.append(f"runs:/{values['run_id']}")
    if values.get("model") and values.get("version"):
        found.append(f"{env.mlflow_pages}/models/{values['model']}/versions/{values['version']}")
    return list(dict.fromkeys(found))


def _found(history: History, name: str) -> Row:
    rows = history.find_pipeline_runs(name)
    ending = [row for row in rows if row["id"].endswith(name)]
    if len(rows) == 1 or len(ending) == 1:
        return (ending or rows)[0]
    if not rows:
        raise StepError(f"no pipeline run is called {name!r}", where="lineage", do="see `platform runs list`")
    meant = "\n".join(f"  {row['id']} ({row['project']})" for row in rows)
    raise StepError(f"{name!r} may mean several:\n{meant}", where="lineage", do="give more of the id")


def _facts(row: Row) -> Row:
    return {name: row[name] for name in _FACTS}


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= _flat(f"{prefix}.{name}", item)
    return found


def _texts(value: Any) -> list[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in _texts(item)]
