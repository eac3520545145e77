"""Records a step while it runs. A step never fails because it could not be recorded: that is a warning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage import store
from pipelines.progress import say
from pipelines.project import Project

ERROR_LENGTH = 2000


@dataclass
class Outcome:
    """What the step hands over when it ends well."""

    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Step:
    """A step that is being recorded. `problems` is what could not be recorded, and why."""

    env: Environment
    project: Project
    name: str
    parameters: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    started: store.Started | None = None

    def start(self) -> None:
        """Record that it begins."""
        try:
            self.started = store.start(self.env, self.project.name, self.name, self.parameters)
        except (psycopg.Error, StepError) as error:
            self._problem("lineage.steps", error)
            return
        for run in self.started.dead:
            self._end_in_mlflow(run, failed=True)
        self._emit("START")

    def end(self, state: str, seconds: float, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        """Record how it ended, in MLflow too if the pipeline run has a run there."""
        if self.started is None:
            return
        facts: dict[str, Any] = {"result": result, "error": error}
        try:
            run, whole = store.end(self.env, self.project.name, self.started, state=state, seconds=seconds, **facts)
        except (psycopg.Error, StepError) as problem:
            self._problem("lineage.steps", problem)
        else:
            if run and whole != "running":
                self._end_in_mlflow(run, failed=whole == "failed")
        self._emit("FAIL" if error else "COMPLETE", **facts)

    def _end_in_mlflow(self, run: str, *, failed: bool) -> None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (takes a second; most steps do without)

        from pipelines import tracking  # noqa: PLC0415

        try:
            tracking.end_pipeline_run(self.env, run, failed=failed)
        except MlflowException as error:
            self._problem("the pipeline run in MLflow", error)

    def _emit(self, kind: str, **facts: Any) -> None:
        """Send the event of OpenLineage; nothing without the record, which numbers the runs of a step."""
        if self.started is None or self.env.openlineage_to == "none":
            return
        from pipelines.lineage import openlineage  # noqa: PLC0415 (not needed where it is switched off)

        try:
            event = openlineage.step_event(
                self.env, self.project, self.name, self.started.id, kind, parameters=self.parameters, **facts
            )
            openlineage.emit(self.env, self.project, event)
        except Exception as error:  # whatever an event trips over, the step itself is right
            self._problem("OpenLineage", error)

    def _problem(self, what: str, error: Exception) -> None:
        self.problems.append(f"{what}: {error}".splitlines()[0])


@contextmanager
def recorded(env: Environment, project: Project, name: str, parameters: dict[str, Any]) -> Iterator[Outcome]:
    """Record the block as a run of the step `name`: its start, its end, its result or why it failed.

    The block puts its result into what it is given; a result with ``"skip": true`` is recorded as skipped.
    """
    began = time.perf_counter()
    outcome = Outcome()
    step = _Step(env, project, name, parameters)
    step.start()
    try:
        yield outcome
    except BaseException as error:
        # It tells its own reason, which is likely that of the record's problems too: one message is enough.
        step.end("failed", time.perf_counter() - began, error=_reason(error))
        raise
    state = "skipped" if outcome.result.get("skip") is True else "done"
    step.end(state, time.perf_counter() - began, result=outcome.result)
    for problem in dict.fromkeys(step.problems):
        say(f"  warning: not recorded: {problem}")


def _reason(error: BaseException) -> str:
    """What a person reads of a failure in the record."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"it was stopped ({type(error).__name__} {error})".replace(" )", ")")
    text = str(error) if isinstance(error, StepError) else f"{type(error).__name__}: {error}"
    return text[:ERROR_LENGTH]
