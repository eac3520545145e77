"""Writes the dashboards: `python -m tools.dashboards`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tools.dashboards import airflow, models, serving, stack
from tools.dashboards.emit import emit

REPO = Path(__file__).resolve().parents[2]
DIRECTORY = REPO / "compose" / "grafana" / "dashboards"
RULES = REPO / "compose" / "prometheus" / "rules"
DASHBOARDS = (stack.DASHBOARD, airflow.DASHBOARD, serving.DASHBOARD, models.DASHBOARD)


def run_books() -> dict[str, str]:
    """Alert → where its run-book is."""
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}


def texts() -> dict[Path, str]:
    """File → its content, of every dashboard."""
    known = run_books()
    return {
        DIRECTORY / f"{dashboard.name}.json": json.dumps(emit(dashboard, known), indent=2) + "\n"
        for dashboard in DASHBOARDS
    }


if __name__ == "__main__":
    for file, text in texts().items():
        file.write_text(text)
        print(file.relative_to(REPO))
