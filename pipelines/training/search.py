"""The search for parameters: Optuna's TPE sampler over the declared space, judged inside the training window."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from pipelines.data.dataset import Window, validation_split
from pipelines.errors import StepError
from pipelines.progress import say
from pipelines.project import Project, Range, Search, Value, seconds
from pipelines.training.fit import ask, fit
from pipelines.training.metrics import LOWER_IS_BETTER, figure


@dataclass(frozen=True)
class Trial:
    """One try: its `parameters` of the space, and its `value` of the declared metric or the `error` that it ended with.

    `started` and `ended` are milliseconds since the epoch.
    """

    number: int
    parameters: dict[str, Value]
    value: float | None
    error: str | None
    started: int
    ended: int


@dataclass(frozen=True)
class Found:
    """The best of a search: all parameters (declared ones included), the number of its trial and its value of the
    declared metric; and how many trials were made."""

    parameters: dict[str, Value]
    best: int
    value: float
    trials: int


def search(project: Project, rules: Search, train: Window, uri: str, tell: Callable[[Trial], None]) -> Found:
    """Try `rules.trials` sets of parameters: fit on the earlier part of the training window, judge on its last quarter.

    The first trial takes the declared parameters that lie in the space. The seed decides all others, so the same rows
    give the same search, unless `rules.timeout` ends it early. Each trial is told as it ends.

    Raises:
        StepError: the training window cannot be split again, or every trial failed.
    """
    inner, validation = validation_split(train, project, uri)
    declared = project.training.parameters
    study = _study(project)
    study.enqueue_trial({name: declared[name] for name, room in rules.space.items() if _holds(room, declared, name)})
    deadline = time.monotonic() + seconds(rules.timeout)
    told: list[Trial] = []
    while len(told) < rules.trials and (not told or time.monotonic() < deadline):
        asked = study.ask()
        parameters = {name: suggest(asked, name, room) for name, room in rules.space.items()}
        trial = _attempt(project, asked.number, parameters, inner, validation)
        # a pruned trial tells the sampler to keep away; a failed one would be forgotten
        study.tell(asked, trial.value, None if trial.error is None else TrialState.PRUNED)
        tell(trial)
        told.append(trial)
    if len(told) < rules.trials:
        say(f"  the search ended after {rules.timeout} with {len(told)} of {rules.trials} trials")
    return _best(project, told)


def suggest(trial: optuna.Trial, name: str, room: Range) -> Value:
    """The value that `trial` takes for the parameter `name` in the space `room`."""
    if room.choices is not None:
        chosen: Value = trial.suggest_categorical(name, room.choices)
        return chosen
    low, high = room.low, room.high
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=room.log)
    return trial.suggest_float(name, float(low or 0), float(high or 0), log=room.log)


def _study(project: Project) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="minimize" if project.evaluation.metric in LOWER_IS_BETTER else "maximize",
        sampler=optuna.samplers.TPESampler(seed=project.training.seed),
    )


def _holds(room: Range, declared: Mapping[str, Value], name: str) -> bool:
    """Whether the declared value of the parameter `name` is one that the space may take."""
    if name not in declared:
        return False
    value = declared[name]
    if room.choices is not None:
        return value in room.choices
    if not isinstance(value, int | float) or isinstance(value, bool) or room.low is None or room.high is None:
        return False
    whole = isinstance(room.low, int) and isinstance(room.high, int)
    return room.low <= value <= room.high and (isinstance(value, int) or not whole)


def _attempt(project: Project, number: int, parameters: dict[str, Value], inner: Window, validation: Window) -> Trial:
    started = _now()
    value, told = None, None
    try:
        model = fit(project, {**project.training.parameters, **parameters}, inner)
        value = figure(project.evaluation.metric, validation.y, ask(project, model, validation.x))
    except StepError as error:
        told = f"{error.where}: {error.what}"
    except MemoryError:
        told = f"needs more than the {project.training.resources.memory_mb} MB of memory that it may use"
    return Trial(number, parameters, value, told, started, _now())


def _best(project: Project, told: list[Trial]) -> Found:
    known = [(trial.value, trial) for trial in told if trial.value is not None]
    if not known:
        raise StepError(
            f"every one of {len(told)} trials failed, the last: {told[-1].error}",
            where=f"projects/{project.name}",
            do="correct the entry point, or training.search.space",
        )
    choose = min if project.evaluation.metric in LOWER_IS_BETTER else max
    value, trial = choose(known, key=lambda pair: pair[0])
    return Found({**project.training.parameters, **trial.parameters}, trial.number, value, len(told))


def _now() -> int:
    return time.time_ns() // 1_000_000
