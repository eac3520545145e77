"""Step `chart`: the months of a year as a picture: what the platform answered beside the first model, with drift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PLATFORM, FROZEN, DRIFT = "tab:blue", "tab:gray", "tab:orange"


def run(env: Environment, project: Project, rows: Path, to: Path) -> dict[str, Any]:  # noqa: ARG001 (every step's call)
    """Draw the months in the file `rows` (JSON: `metric`, and `rows` with `month`, `frozen`, `platform`,
    `drift_share` and `released`) as the PNG `to`. Returns `file`."""
    try:
        content = json.loads(rows.read_text())
        months = sorted(content["rows"], key=lambda row: row["month"])
        figure = draw(months, content["metric"], project)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StepError(f"the months cannot be read: {error!r}", where=str(rows)) from error
    figure.savefig(to, dpi=120)
    return {"file": str(to)}


def draw(months: list[dict[str, Any]], metric: str, project: Project) -> Figure:
    """The picture: the metric above, the share of drifted columns below."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = [row["month"] for row in months]
    above.plot(
        places, [row["platform"] for row in months], color=PLATFORM, marker="o", label="answered by the platform"
    )
    above.plot(places, [row["frozen"] for row in months], color=FROZEN, marker="o", label="the first model, frozen")
    for row in months:
        if row["released"]:
            _mark(above, row)
    above.margins(y=0.15)  # room for the marks
    above.set_ylabel(metric)
    above.set_title(f"{project.name}: month by month")
    above.legend()
    above.grid(alpha=0.3)
    below.bar(places, [row["drift_share"] for row in months], color=DRIFT)
    below.axhline(project.monitoring.drift.share, color=DRIFT, linestyle="--", linewidth=1)
    below.set_ylabel("drifted columns")
    below.set_xticks(places, [MONTHS[month - 1] for month in places])
    return figure


def _mark(axes: Axes, row: dict[str, Any]) -> None:
    """How the release of the month's candidate ended, at its point."""
    axes.annotate(
        row["released"].replace("version ", "v").replace(" ", "\n", 1),
        (row["month"], row["platform"]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        fontsize=7,
    )
