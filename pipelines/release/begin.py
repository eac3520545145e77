"""Begins the release of a version that passed the gate, as the project declares it."""

from __future__ import annotations

from typing import Any

from mlflow import MlflowClient

from contract import ALIAS_CHAMPION
from pipelines.environment import Environment
from pipelines.progress import say
from pipelines.project import Project
from pipelines.release import actions, audit, plan
from pipelines.release.rollout import Rollout
from pipelines.release.server import counters
from pipelines.release.store import Row, Store, opened


def begin(env: Environment, project: Project, client: MlflowClient, version: int | str) -> str | None:
    """Begin the release of `version`, or go on with one that was begun before.

    Returns the alias that the version has now: ``champion`` at once for the strategy `direct` and for the first version
    of a model, else ``canary`` or ``shadow``. None if its release is over (a repeated call undoes no later release and
    no rollback), or if another version's is running: then the version says ``waiting: …`` in its tag
    ``platform.release``, and nothing else has changed.

    Raises:
        StepError: the database cannot be reached.
        MlflowException: MLflow refuses or cannot be reached; the next call, or the next `release watch`, goes on.
    """
    number = int(version)
    with opened(env, project.name) as store:
        rollout = make_rollout(env, project, client, store)
        running = store.running(project.name)
        if running is not None:
            running = rollout.resume(running)
        if running is not None and running.state == "running":
            return _under_way(client, project, running, number)
        found = actions.aliases(client, project.name)
        if found.get(ALIAS_CHAMPION) == number:
            return ALIAS_CHAMPION
        if _was_released(client, store, project, number):
            return None
        champion = found.get(ALIAS_CHAMPION)
        who = audit.actor(env)
        if champion is None or project.release.strategy == "direct":
            reason = "it passed the gate" if champion else "it passed the gate, and there was no champion"
            row = store.begin(project.name, number, champion, "direct", who, promote=reason)
            return ALIAS_CHAMPION if rollout.resume(row).state == "promoted" else None
        row = rollout.resume(store.begin(project.name, number, champion, project.release.strategy, who))
        return plan.placement(project.release, row.step).alias


def make_rollout(env: Environment, project: Project, client: MlflowClient, store: Store) -> Rollout:
    """What carries a release of `project` out."""

    def marks(row: Row, alias: str) -> dict[str, Any]:
        counted = counters(env, row, alias)
        return {"counters": counted} if isinstance(counted, dict) else {}

    return Rollout(client, store, project.release, audit.actor(env), marks)


def _under_way(client: MlflowClient, project: Project, running: Row, version: int) -> str | None:
    if running.version == version:
        return plan.placement(project.release, running.step).alias
    text = f"waiting: the release of version {running.version} is running"
    client.set_model_version_tag(project.name, str(version), actions.RELEASE_TAG, text)
    say(f"  {project.name} version {version} is not released: {text}")
    return None


def _was_released(client: MlflowClient, store: Store, project: Project, version: int) -> bool:
    """Whether a release of the version has ended before, by what the warehouse or the registry knows."""
    if store.latest(project.name, version) is not None:
        return True
    return actions.PROMOTED_TAG in client.get_model_version(project.name, str(version)).tags
