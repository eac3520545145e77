from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.monitoring import chart
from pipelines.project import Project

ROWS: list[dict[str, Any]] = [
    {"month": 4, "frozen": 0.64, "platform": 0.66, "drift_share": 0.3, "released": "version 2 promoted"},
    {"month": 3, "frozen": 0.70, "platform": 0.70, "drift_share": 0.2, "released": None},
]


def test_the_picture_has_both_models_the_drift_and_the_releases(project: Project) -> None:
    above, below = chart.draw(sorted(ROWS, key=lambda row: row["month"]), "roc_auc", project).axes
    assert [line.get_ydata().tolist() for line in above.get_lines()] == [[0.70, 0.66], [0.70, 0.64]]
    assert [text.get_text() for text in above.texts] == ["v2\npromoted"]
    assert [bar.get_height() for bar in below.patches] == [0.2, 0.3]
    assert [label.get_text() for label in below.get_xticklabels()] == ["Mar", "Apr"]


def test_it_is_a_png(env: Environment, project: Project, tmp_path: Path) -> None:
    rows, to = tmp_path / "year.json", tmp_path / "year.png"
    rows.write_text(json.dumps({"metric": "roc_auc", "rows": ROWS}))
    assert chart.run(env, project, rows, to) == {"file": str(to)}
    assert to.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "content", ["", "{}", '{"metric": "roc_auc", "rows": [{"month": 3}]}', '{"metric": 1, "rows": 2}']
)
def test_a_file_that_holds_no_months_is_told(env: Environment, project: Project, tmp_path: Path, content: str) -> None:
    rows = tmp_path / "year.json"
    rows.write_text(content)
    with pytest.raises(StepError, match="the months cannot be read"):
        chart.run(env, project, rows, tmp_path / "year.png")
    assert not (tmp_path / "year.png").exists()
