"""The pictures of a training run, as PNG files."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from pipelines.training.metrics import Array, calibration_bins

mpl.use("agg")

BLUE, GREY, ORANGE = "#2563eb", "#9ca3af", "#ea580c"
MOST_BARS = 25


def roc(y: pd.Series, probability: Array, auc: float, file: Path) -> None:
    """Draw the ROC curve."""
    false_positive, true_positive, _ = roc_curve(y, probability)
    axes = _axes("ROC on the test window", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    axes.plot(false_positive, true_positive, color=BLUE, label=f"AUC {auc:.3f}")
    axes.legend(loc="lower right", frameon=False)
    _save(axes, file)


def calibration(y: pd.Series, probability: Array, file: Path) -> None:
    """Draw observed against predicted share, with the number of rows a bin as the size of its dot."""
    table = calibration_bins(y.to_numpy(), probability)
    axes = _axes("Calibration on the test window", "predicted", "observed")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    axes.plot(table["predicted"], table["observed"], color=BLUE)
    axes.scatter(table["predicted"], table["observed"], s=200 * table["rows"] / table["rows"].max() + 8, color=BLUE)
    _save(axes, file)


def predicted(y: pd.Series, answer: Array, file: Path) -> None:
    """Draw the predicted against the true value, darker where there are more rows."""
    low, high = float(min(y.min(), answer.min())), float(max(y.max(), answer.max()))
    axes = _axes("Predicted and true value on the test window", "true", "predicted")
    axes.hexbin(y, answer, gridsize=40, mincnt=1, bins="log", cmap="Blues")
    axes.plot([low, high], [low, high], color=ORANGE, linewidth=1, linestyle="--")
    _save(axes, file)


def residuals(y: pd.Series, answer: Array, file: Path) -> None:
    """Draw how the predicted values differ from the true ones."""
    off = answer - y.to_numpy()
    axes = _axes("Residuals on the test window", "predicted less true", "rows")
    axes.hist(off, bins=60, color=BLUE)
    axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
    axes.axvline(float(off.mean()), color=ORANGE, linewidth=1.5, label=f"mean {off.mean():.3g}")
    axes.legend(loc="best", frameon=False)
    _save(axes, file)


def importance(table: pd.DataFrame, metric: str, file: Path) -> None:
    """Draw `table` (`feature`, `importance` = loss of `metric` when the feature is shuffled)."""
    shown = table.head(MOST_BARS).iloc[::-1]
    axes = _axes("Permutation importance", f"loss of {metric}", "", height=0.8 + 0.25 * len(shown))
    axes.barh(shown["feature"], shown["importance"], color=BLUE)
    _save(axes, file)


def slice_points(table: pd.DataFrame, metric: str, overall: float, file: Path) -> None:
    """Draw `metric` for the values of one slice (rows of `metrics.slices`), the largest values first."""
    shown = table.dropna(subset=metric).nlargest(MOST_BARS, "rows").iloc[::-1]
    name = str(table["slice"].iloc[0])
    axes = _axes(f"{metric} by {name}", metric, "", height=0.8 + 0.25 * max(len(shown), 2))
    axes.plot(shown[metric], [f"{row.value} ({row.rows})" for row in shown.itertuples()], "o", color=BLUE)
    axes.axvline(overall, color=ORANGE, linewidth=1.5, label=f"all {overall:.3f}")
    axes.grid(axis="y", color=GREY, alpha=0.3)
    axes.legend(loc="best", frameon=False)
    _save(axes, file)


def _axes(title: str, x: str, y: str, height: float = 4.0) -> Axes:
    axes = Figure(figsize=(6, height), dpi=90).add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(axes: Axes, file: Path) -> None:
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.tight_layout()
        figure.savefig(file)
