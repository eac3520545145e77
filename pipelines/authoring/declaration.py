"""The declaration of a trial: the project's own, made small."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from pipelines.authoring.check import CHECKOUT_PARTS
from pipelines.declarations import read_yaml
from pipelines.project import FILE_NAME, Project

ITERATIONS = frozenset(
    {"max_iter", "n_estimators", "num_iterations", "iterations", "num_boost_round", "epochs", "max_epochs"}
)
"""Parameters that say how long a training goes on, as the libraries call them."""
UNBOUNDED = 1e9
HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision", "r2"})
BOOTSTRAP = 20
IGNORED = ("__pycache__", ".ipynb_checkpoints", FILE_NAME)


def write_checkout(repo: Path, project: Project, name: str, directory: Path) -> None:
    """Write into `directory` a checkout with `project` under the name `name`, its declaration made small."""
    shutil.copytree(project.directory, directory / "projects" / name, ignore=shutil.ignore_patterns(*IGNORED))
    for part in CHECKOUT_PARTS:
        (directory / part).symlink_to(repo / part)
    small = shrink(read_yaml(project.file), f"{name}.{project.data.table.partition('.')[2]}")
    text = yaml.safe_dump(small, sort_keys=False, allow_unicode=True)
    (directory / "projects" / name / FILE_NAME).write_text(text, encoding="utf-8")


def shrink(content: dict[str, Any], table: str) -> dict[str, Any]:
    """The declaration `content` for a trial: its mart is `table`, one iteration, one trial of a search, and a gate that
    measures all that is declared but refuses nothing."""
    data, training, evaluation = dict(content["data"]), dict(content["training"]), dict(content["evaluation"])
    data |= {"table": table, "connections": [], "target_known_after": "0s"}
    if data.get("dbt_select"):
        # What is upstream of the selection is not in the scratch schema unless it is built there too.
        data["dbt_select"] = " ".join(f"+{word.removeprefix('+')}" for word in data["dbt_select"].split())
    parameters = training.get("parameters") or {}
    training["parameters"] = {key: 1 if key in ITERATIONS else value for key, value in parameters.items()}
    training["minimum_rows"] = 2
    if training.get("search"):
        training["search"] = _one_trial(training["search"])
    evaluation["minimum"] = -UNBOUNDED if evaluation["metric"] in HIGHER_IS_BETTER else UNBOUNDED
    evaluation["bootstrap"] = BOOTSTRAP
    evaluation |= {key: UNBOUNDED for key in ("max_calibration_error", "max_latency_ms") if evaluation.get(key)}
    if evaluation.get("missing_values"):
        evaluation["missing_values"] = {**evaluation["missing_values"], "max_loss": UNBOUNDED}
    monitoring = {**(content.get("monitoring") or {}), "minimum_predictions": 1}
    small = {**content, "data": data, "training": training, "evaluation": evaluation, "monitoring": monitoring}
    small["release"] = {"strategy": "direct"}
    return small


def _one_trial(search: dict[str, Any]) -> dict[str, Any] | None:
    """The search with one trial, which does not search how long to train."""
    space = {key: values for key, values in search["space"].items() if key not in ITERATIONS}
    return {**search, "trials": 1, "space": space} if space else None
