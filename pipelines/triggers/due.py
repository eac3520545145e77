"""Step `due`: whether what the monitor found asks for a training."""

from __future__ import annotations

from typing import Any

from pipelines.environment import Environment
from pipelines.progress import say
from pipelines.project import Project, Triggers
from pipelines.triggers import guards, store
from pipelines.triggers.guards import Decision, Trigger
from pipelines.warehouse import connect

FINDINGS: tuple[tuple[Trigger, str], ...] = (("performance", "lost_performance"), ("drift", "drift"))
"""The trigger of each finding of the monitor; a loss is certain harm, drift only makes it likely, so it comes first."""
EVIDENCE = ("version", "predictions", "labelled", "window_to", "drift_share", "drifted", "performance", "report_url")
LOOKED_AT = ("version", "predictions", "labelled", "window_to")
"""What tells two looks of the monitor apart."""


def run(env: Environment, project: Project, findings: dict[str, Any]) -> dict[str, Any]:
    """Hold the result of the step `monitor` against the declaration.

    Returns `due`, `trigger` and `evidence` if a training is due, else `skip`; and `reason`. What the monitor found and
    the declaration does not want, or has been acted on before, is kept as a decision against a training.
    """
    evidence = {name: findings.get(name) for name in EVIDENCE}
    with connect(env) as connection:
        store.prepare(connection)
        found = [trigger for trigger, finding in FINDINGS if findings.get(finding)]
        for trigger in found:
            before = store.last_evidence(connection, project.name, trigger)
            decision = judge(project.triggers, trigger, evidence, before)
            if decision.train:
                say(f"  a training is due: {decision.reason}")
                return {"due": True, "trigger": trigger, "reason": decision.reason, "evidence": evidence}
            store.record(connection, env, project.name, trigger=trigger, decision=decision, evidence=evidence)
            say(f"  {decision.reason}")
    reason = "the findings do not start a training" if found else "the monitor found nothing that asks for a training"
    say(f"  {reason}")
    return {"due": False, "reason": reason, "skip": True}


def judge(triggers: Triggers, trigger: Trigger, evidence: store.Evidence, before: store.Evidence | None) -> Decision:
    """Whether a finding asks for a training: the declaration has its trigger, and nothing was trained on the same
    predictions and outcomes `before`. Pure."""
    reason = guards.REASONS[trigger]
    if not guards.wanted(triggers, trigger):
        return Decision(False, f"{reason}, but this does not start a training ({guards.KEYS[trigger]})")
    if before is not None and all(before.get(name) == evidence.get(name) for name in LOOKED_AT):
        return Decision(False, f"{reason}, as a training that began since has been told: nothing new was seen")
    return Decision(True, reason)
