"""Step `decide`: whether a training begins now. The first task of every training; each decision is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines import tracking
from pipelines.environment import Environment
from pipelines.progress import say
from pipelines.project import Project
from pipelines.release import store as releases
from pipelines.triggers import guards, store
from pipelines.triggers.guards import Decision, Situation, Trigger
from pipelines.warehouse import connect


def run(
    env: Environment,
    project: Project,
    trigger: Trigger = "demand",
    force: bool = False,
    evidence: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Decide on the training that `trigger` asks for, and write the decision down with its `evidence`.

    Returns `train`, `trigger`, `reason`, `decision` (its id), and `skip` where no training begins.
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        champion = tracking.champion(client, project.name)
    with releases.opened(env) as held:
        release = held.running(project.name)
    with connect(env) as connection:
        store.prepare(connection)
        before = store.made(connection, env, project.name)
        if before is not None:
            number, decision = before[0], Decision(True, before[1])
        else:
            situation = Situation(
                now=datetime.now(UTC),
                champion=int(champion.version) if champion else None,
                releasing=release.version if release else None,
                begun=store.begun(connection, project.name),
            )
            decision = guards.decide(project.triggers, trigger, situation, force=force)
            number = store.record(
                connection, env, project.name, trigger=trigger, decision=decision, evidence=evidence or {}
            )
    say(f"  {'train' if decision.train else 'no training'}: {decision.reason}")
    result = {"train": decision.train, "trigger": trigger, "reason": decision.reason, "decision": number}
    return result if decision.train else {**result, "skip": True}
