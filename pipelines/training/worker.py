"""The process that runs a project's code: ``python -m pipelines.training.worker``, started by `limits.Worker`.

It takes its job (`Job`, one line of JSON) on stdin, and answers on stdout with objects, a line each: ``trial`` for each
trial of a search, at the end ``done`` (`Outcome`) or ``failure``. What the project's code prints goes to stderr. It
knows nothing of MLflow: what it made lies as files in the job's directory.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from pipelines.data.dataset import Snapshot, Window, split_by_time
from pipelines.errors import StepError
from pipelines.progress import stage
from pipelines.project import Project, Search, Value
from pipelines.training.fit import ask, ask_without, fit, importance, store
from pipelines.training.limits import bounded_memory, die_with_parent

ROWS_FILE, MODEL_FILE, ANSWERS_FILE, IMPORTANCE_FILE = "rows.parquet", "fitted.skops", "answers.npz", "importance.csv"

Tell = Callable[[dict[str, Any]], None]


class Job(BaseModel):
    """What to train: the project, and the directory with the rows of the snapshot `uri`, where the results go too."""

    project: Project
    directory: Path
    uri: str


class Outcome(BaseModel):
    """The parameters that the model was fitted with, and the search that found them: its figures, if there was one."""

    parameters: dict[str, Value]
    search: dict[str, float] = {}


def main() -> None:
    """Do the job that stands on stdin."""
    die_with_parent()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the project's code may print
    # line by line: what is still held back when this process is ended would be lost
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)

    def tell(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=channel, flush=True)

    line = sys.stdin.readline()
    if not line:
        return  # nobody wants anything any more
    job = Job.model_validate_json(line)
    resources = job.project.training.resources
    try:
        outcome = _work(job, tell)
    except MemoryError as error:
        failure = StepError(
            f"the training needs more than the {resources.memory_mb} MB of memory that it may use",
            where=f"projects/{job.project.name}",
            do="raise training.resources.memory_mb, or train on fewer rows (training.history)",
        )
        tell(_told(failure, error))
    except SystemExit as error:
        failure = StepError(
            f"the project's code ends the process: SystemExit({error.code})",
            where=f"projects/{job.project.name}",
            do="return or raise instead",
        )
        tell(_told(failure, error))
    except StepError as error:
        tell(_told(error, error))
    else:
        tell({"done": outcome.model_dump(mode="json")})


def _told(failure: StepError, error: BaseException) -> dict[str, Any]:
    text = "".join(traceback.format_exception(error))
    return {"failure": {"what": failure.what, "where": failure.where, "do": failure.do, "traceback": text}}


def _work(job: Job, tell: Tell) -> Outcome:
    project, directory = job.project, job.directory
    rows = pd.read_parquet(directory / ROWS_FILE)
    train, test = split_by_time(Snapshot(job.uri, "", rows), project)
    with bounded_memory(project.training.resources.memory_mb):
        if (rules := project.training.search) is None:
            outcome = Outcome(parameters=dict(project.training.parameters))
        else:
            outcome = _search(job, rules, train, tell)
        with stage(f"fit on {len(train.y)} rows"):
            model = fit(project, outcome.parameters, train)
        answers = {"train": ask(project, model, train.x), "test": ask(project, model, test.x)}
        ask_without(project, model, train.x)
        importance(project, model, test).to_csv(directory / IMPORTANCE_FILE, index=False)
        store(project, model, directory / MODEL_FILE)
    np.savez(directory / ANSWERS_FILE, train=answers["train"], test=answers["test"])
    return outcome


def _search(job: Job, rules: Search, train: Window, tell: Tell) -> Outcome:
    from pipelines.training.search import search  # noqa: PLC0415 (imports Optuna, for a search only)

    with stage(f"search, {rules.trials} trials"):
        found = search(job.project, rules, train, job.uri, lambda trial: tell({"trial": asdict(trial)}))
    figures = {"search_trials": found.trials, "search_best_trial": found.best, "search_best_value": found.value}
    return Outcome(parameters=found.parameters, search=figures)


if __name__ == "__main__":
    main()
