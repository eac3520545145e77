"""Whether a training begins now: the trigger, what the declaration wants, and the guards. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from pipelines.project import Triggers, seconds

Trigger = Literal["demand", "schedule", "new_data", "drift", "performance"]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Begun:
    """A training that was decided on before."""

    at: datetime
    trigger: Trigger


@dataclass(frozen=True)
class Situation:
    """What a decision depends on. `begun` has the trainings of the last day and the newest automatic one, any order;
    `champion` and `releasing` are versions."""

    now: datetime
    champion: int | None = None
    releasing: int | None = None
    begun: Sequence[Begun] = ()


@dataclass(frozen=True)
class Decision:
    """Whether to train, and why."""

    train: bool
    reason: str


def decide(triggers: Triggers, trigger: Trigger, situation: Situation, *, force: bool = False) -> Decision:
    """Decide on a training that `trigger` asks for.

    The first model of a project is trained on the first data that arrives, whatever the declaration says of new
    data: without it nothing could be watched. A person (`demand`) is held back by a running release only, and with
    `force` not even by that.
    """
    refused = _unwanted(triggers, trigger, situation) or _release(situation, force)
    if refused is None and trigger != "demand":
        refused = _cool_down(triggers, situation) or _daily(triggers, situation)
    return Decision(False, refused) if refused else Decision(True, _why(trigger, situation))


def wanted(triggers: Triggers, trigger: Trigger) -> bool:
    """Whether the declaration has this trigger; a person may always ask."""
    return {
        "demand": True,
        "schedule": triggers.schedule is not None,
        "new_data": triggers.on_new_data,
        "drift": triggers.on_drift,
        "performance": triggers.on_performance_loss,
    }[trigger]


KEYS: dict[Trigger, str] = {
    "schedule": "triggers.schedule",
    "new_data": "triggers.on_new_data",
    "drift": "triggers.on_drift",
    "performance": "triggers.on_performance_loss",
}
"""The key of the declaration that wants a trigger."""

REASONS: dict[Trigger, str] = {
    "demand": "asked for",
    "schedule": "it is time (triggers.schedule)",
    "new_data": "new data arrived",
    "drift": "the inputs have drifted",
    "performance": "the champion has become worse",
}


def _why(trigger: Trigger, situation: Situation) -> str:
    first = trigger == "new_data" and situation.champion is None
    return "the first data arrived, and there is no champion yet" if first else REASONS[trigger]


def _unwanted(triggers: Triggers, trigger: Trigger, situation: Situation) -> str | None:
    if wanted(triggers, trigger) or (trigger == "new_data" and situation.champion is None):
        return None
    return f"{REASONS[trigger]}, but this does not start a training of the project ({KEYS[trigger]})"


def _release(situation: Situation, force: bool) -> str | None:
    if situation.releasing is None or force:
        return None
    return f"version {situation.releasing} is being released: its end is waited for"


def _cool_down(triggers: Triggers, situation: Situation) -> str | None:
    least = timedelta(seconds=seconds(triggers.cool_down))
    last = max((begun.at for begun in situation.begun if begun.trigger != "demand"), default=None)
    if last is None or situation.now - last >= least:
        return None
    return (
        f"cool-down: the last training that nobody asked for began at {last:%Y-%m-%d %H:%M:%S} UTC, "
        f"the next may begin {triggers.cool_down} later (triggers.cool_down)"
    )


def _daily(triggers: Triggers, situation: Situation) -> str | None:
    today = sum(situation.now - begun.at < DAY for begun in situation.begun)
    if today < triggers.max_per_day:
        return None
    return f"{today} trainings began in the last 24 hours, {triggers.max_per_day} may (triggers.max_per_day)"
