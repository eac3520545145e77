"""Step `release`: one look at the running release of a project, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines import tracking
from pipelines.environment import Environment
from pipelines.progress import say
from pipelines.project import Project
from pipelines.release import observe, plan
from pipelines.release.begin import make_rollout
from pipelines.release.rollout import Rollout
from pipelines.release.store import Row, Store, opened


def run(env: Environment, project: Project, action: str) -> dict[str, Any]:
    """`watch` looks once and acts; `status` only tells.

    Returns `state` (None if the project has had no release), `release` (id), `version`, `champion` (the one that it is
    held against), `strategy`, `step` and `steps` (from 1), `reason`, `figures`; with `watch`, `skip` while the release
    goes on.
    """
    if action == "status":
        with opened(env) as store:
            return describe(project, store, _newest(store, project))
    client = tracking.connect(env)
    with tracking.mlflow_errors(env), opened(env, project.name) as store:
        row = store.running(project.name)
        if row is None:
            say("  no release is running")
            return describe(project, store, _newest(store, project))
        rollout = make_rollout(env, project, client, store)
        row = rollout.resume(row)
        if row.state == "running":
            row = _look(env, project, rollout, store, row)
        result = describe(project, store, row)
    return {**result, "skip": True} if row.state == "running" else result


def describe(project: Project, store: Store, row: Row | None) -> dict[str, Any]:
    """A release as the result of a step."""
    if row is None:
        return {"project": project.name, "state": None}
    seen = store.observations(row)
    return {
        "project": project.name,
        "state": row.state,
        "release": row.id,
        "version": row.version,
        "champion": row.champion,
        "strategy": row.strategy,
        "step": row.step + 1,
        "steps": len(project.release.steps),
        "reason": row.reason or (seen[0]["verdict"] if seen else None),
        "figures": seen[0]["figures"] if seen else {},
    }


def _newest(store: Store, project: Project) -> Row | None:
    found = store.history(project.name, 1)
    return found[0] if found else None


def _look(env: Environment, project: Project, rollout: Rollout, store: Store, row: Row) -> Row:
    """Observe, keep what was seen, decide and act."""
    to = plan.placement(project.release, row.step)
    seen, marks = observe.observe(env, project, rollout.client, row, to.alias)
    now = datetime.now(UTC)
    move = plan.decide(project.release, plan.Progress(row.step, row.step_began_at, row.started_at), seen, now)
    store.mark(row, marks, observe.as_json(seen), f"{move.action}: {move.reason}")
    say(f"  {project.name} version {row.version}: {move.reason}")
    match move.action:
        case "roll_back":
            return rollout.finish(row, "rolled_back", move.reason)
        case "promote":
            return rollout.finish(row, "promoted", move.reason)
        case "advance":
            return rollout.advance(row, row.step + 1, move.reason)
    return row
