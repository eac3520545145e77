"""What happens next with a release: a state machine without a clock, a registry or a database. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from contract import ALIAS_CANARY, ALIAS_SHADOW
from pipelines.project import Limits, Release, seconds

Limit = Literal["error_rate", "latency_ratio", "disagreement", "output_drift", "performance_loss"]
Action = Literal["wait", "advance", "promote", "roll_back"]

BREACHES: dict[Limit, str] = {
    "error_rate": "it fails {value:.2%} more of its requests than the champion",
    "latency_ratio": "its median latency is {value:.2f} times the champion's",
    "disagreement": "its answers are {value:.3f} away from the champion's for the same rows",
    "output_drift": "its answers have drifted from those on its test window: PSI {value:.3f}",
    "performance_loss": "its performance is {value:.4f} worse than the champion's on the same rows",
}


@dataclass(frozen=True)
class Estimate:
    """A figure of the candidate: `low` is what it exceeds beyond doubt, None while too little was seen to say."""

    value: float
    low: float | None
    rows: int
    """How many rows, requests or outcomes it is made of."""


@dataclass(frozen=True)
class Observation:
    """What was seen of the candidate since its step began."""

    requests: int = 0
    """Its predictions."""
    figures: Mapping[Limit, Estimate] = field(default_factory=dict)
    refused: str | None = None
    """Why the model server does not serve it, if so."""
    blind: str | None = None
    """Why something that is to be watched cannot be seen at all now, if so."""


@dataclass(frozen=True)
class Progress:
    """Where a release is."""

    step: int
    step_began_at: datetime
    started_at: datetime


@dataclass(frozen=True)
class Move:
    """What to do, and why."""

    action: Action
    reason: str


@dataclass(frozen=True)
class Placement:
    """Where a step puts the candidate: under which alias, with which percent of the traffic (None as the shadow)."""

    alias: str
    share: int | None


def placement(rules: Release, step: int) -> Placement:
    """Where the step `step` (from 0) puts the candidate."""
    share = rules.steps[step].share
    return Placement(ALIAS_CANARY, share) if share else Placement(ALIAS_SHADOW, None)


def decide(rules: Release, progress: Progress, seen: Observation, now: datetime) -> Move:
    """Decide on the next move. A breach goes before anything else; what cannot be seen holds a release back."""
    wrong = _refusal(seen) or breach(rules.limits, seen)
    if wrong is not None:
        return Move("roll_back", wrong)
    missing = _missing(rules, progress, seen, now)
    if missing is not None:
        if (now - progress.started_at).total_seconds() >= seconds(rules.timeout):
            return Move("roll_back", f"not enough was seen within {rules.timeout} (release.timeout): {missing}")
        return Move("wait", missing)
    if progress.step + 1 < len(rules.steps):
        return Move("advance", f"step {progress.step + 1} of {len(rules.steps)} has been seen enough")
    return Move("promote", f"every one of its {len(rules.steps)} steps was within the limits")


def breach(limits: Limits, seen: Observation) -> str | None:
    """Every limit that the candidate exceeds beyond doubt, in words; None if there is none."""
    found = []
    for name, text in BREACHES.items():
        limit: float | None = getattr(limits, name)
        figure = seen.figures.get(name)
        if limit is not None and figure is not None and figure.low is not None and figure.low > limit:
            found.append(f"{text.format(value=figure.value)} (release.limits.{name}: {limit:g})")
    return "; ".join(found) or None


def _refusal(seen: Observation) -> str | None:
    return f"the model server does not serve it: {seen.refused}" if seen.refused else None


def _missing(rules: Release, progress: Progress, seen: Observation, now: datetime) -> str | None:
    """What the present step still waits for; None if it has seen enough."""
    step = rules.steps[progress.step]
    spent = int((now - progress.step_began_at).total_seconds())
    waits = []
    if seen.requests < step.requests:
        waits.append(f"{seen.requests} of {step.requests} predictions")
    if spent < seconds(step.time):
        waits.append(f"{spent} s of {step.time}")
    if seen.blind:
        waits.append(seen.blind)
    where = f"step {progress.step + 1} of {len(rules.steps)}"
    return f"{where}: {', '.join(waits)}" if waits else None
