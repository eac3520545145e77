"""The plots and tables of a training run, of its test window."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from pipelines.data.dataset import Window
from pipelines.project import Project
from pipelines.training import metrics, plots
from pipelines.training.metrics import Array


def write(directory: Path, project: Project, test: Window, answer: Array, importance: pd.DataFrame) -> None:
    """Write ``plots/``, ``tables/`` and the declaration (``project.json``) below `directory`.

    `answer` is the model's for the test window; `importance` has the columns `feature` and `importance`.
    """
    (directory / "plots").mkdir(parents=True)
    (directory / "tables").mkdir()
    metric = project.evaluation.metric
    if project.task == "classification":
        auc = metrics.figure("roc_auc", test.y, answer)
        plots.roc(test.y, answer, auc, directory / "plots/roc.png")
        plots.calibration(test.y, answer, directory / "plots/calibration.png")
    else:
        plots.predicted(test.y, answer, directory / "plots/predicted.png")
        plots.residuals(test.y, answer, directory / "plots/residuals.png")
    importance.to_csv(directory / "tables/importance.csv", index=False)
    plots.importance(importance, metric, directory / "plots/importance.png")
    if project.evaluation.slices:
        table = metrics.slices(project.task, test.x, test.y, answer, project.evaluation.slices)
        table.to_csv(directory / "tables/slices.csv", index=False)
        overall = metrics.figure(metric, test.y, answer)
        for name, part in table.groupby("slice"):
            plots.slice_points(part, metric, overall, directory / f"plots/slice_{name}.png")
    (directory / "project.json").write_text(
        json.dumps(project.model_dump(mode="json", exclude={"directory"}), indent=2), encoding="utf-8"
    )
