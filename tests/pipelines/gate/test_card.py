from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

from contract import DIGEST_TAG, SNAPSHOT_TAG
from pipelines.gate import card
from pipelines.gate.bootstrap import Interval
from pipelines.gate.card import Facts, description, render
from pipelines.gate.checks import Gaps
from pipelines.gate.figures import Evidence, Measured, Slice
from pipelines.project import MissingValues, Project

LINK = "http://127.0.0.1:5000/#/experiments/1/runs/abc/artifacts/card.md"


def around(value: float) -> Interval:
    return Interval(value - 0.02, value, value + 0.02)


def evaluation(*, compared: bool = True, **more: Any) -> dict[str, Any]:
    rival = {"champion": around(0.75), "loss": around(0.05)} if compared else {}
    evidence = Evidence(
        rows=1200,
        metrics={"roc_auc": Measured(around(0.7), **rival), "brier": Measured(around(0.2), **rival)},
        slices=[
            Slice("country", "de", 900, Measured(around(0.71), **rival)),
            Slice("country", "f|r", 280, Measured(around(0.6), **rival)),
            Slice("country", "(missing)", 20, None),
        ],
        latency_ms=4.2,
        gaps=Gaps(0.1, 0.03, None),
        schema=["schema: price was double and is long"],
    ).as_json()
    found = {
        "gate": "refused: it is worse",
        "champion_version": 3,
        "champion": {"roc_auc": 0.75} if compared else None,
        "notes": [],
    }
    return found | more | {"evidence": evidence}


@pytest.fixture
def facts(project: Project) -> Facts:
    windows = {"train_from": "2024-01-01T00:00", "train_to": "2024-02-29T23:00"}
    windows |= {"test_from": "2024-03-01T00:00", "test_to": "2024-03-31T23:00"}
    tags = {SNAPSHOT_TAG: "s3://snapshots/shop/x.parquet", DIGEST_TAG: "d1"}
    tags |= {"platform.commit": "c0ffee", "platform.actor": "airflow:shop__train/1"}
    metrics = {"rows_train": 2400.0, "rows_test": 1200.0, "train_roc_auc": 0.81}
    run = Run(
        RunInfo("abc", "1", "someone", "FINISHED", 0, 1, "active"),
        RunData(
            [Metric(key, value, 0, 0) for key, value in metrics.items()],
            [Param(key, value) for key, value in ({"max_iter": "20"} | windows).items()],
            [RunTag(key, value) for key, value in tags.items()],
        ),
    )
    gaps = MissingValues(share=0.1, max_loss=0.05)
    rules = project.evaluation.model_copy(update={"missing_values": gaps, "max_latency_ms": 20.0})
    return Facts(project.model_copy(update={"evaluation": rules}), 4, run, evaluation(), "ann@shell")


def test_a_card_tells_data_metrics_slices_limits_and_lineage(facts: Facts) -> None:
    text = render(facts)
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["Metrics", "Slices", "Checks", "Limits", "Data", "Lineage"]
    for told in (
        "# shop, version 4",
        "roc_auc 0.7000 [0.6800, 0.7200] on 2024-03-01 to 2024-03-31. Gate: refused: it is worse.",
        "| roc_auc (higher is better) | 0.7000 [0.6800, 0.7200] | 0.8100 | 0.7500 [0.7300, 0.7700] | 0.0500",
        "| brier (lower is better) |",
        "| country = de | 900 | 0.7100 [0.6900, 0.7300] | 0.0500 [0.0300, 0.0700] |",
        "- a single row takes 4.2 ms (allowed: 20)",
        "- with 10% of the values missing roc_auc is 0.0300 worse (allowed: 0.05)",
        "- schema: price was double and is long",
        "- It has seen nothing before 2024-01-01 or after 2024-02-29",
        "- Weaker than on the whole, beyond doubt: country = f|r.",
        "- Not measured, fewer than 200 test rows: country = (missing) (20).",
        "| train | 2024-01-01 to 2024-02-29 | 2400 |",
        "`country` (category), `price` (number), `items` (integer)",
        "| data snapshot | s3://snapshots/shop/x.parquet |",
        "| code | c0ffee |",
        "| trained by | airflow:shop__train/1 |",
        "| registered by | ann@shell |",
        "| champion at that time | 3 |",
        "| parameters | max_iter = 20 |",
    ):
        assert told in text
    assert "| country = f\\|r | 280 |" in text, "a value cannot break the table"


def test_a_card_without_a_comparison_says_so(facts: Facts) -> None:
    note = "not compared with version 3, the champion: it needs size, no longer declared"
    text = render(replace(facts, evaluation=evaluation(compared=False, notes=[note])))
    assert "- Not compared with version 3, the champion: it needs size, no longer declared." in text
    assert "loss against" not in text


def test_a_description_keeps_whole_sections_within_what_mlflow_takes(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = description(facts, LINK)
    assert f"[Model card]({LINK})" in whole
    assert whole.rstrip().endswith(render(facts).rstrip()[-200:])
    monkeypatch.setattr(card, "DESCRIPTION_CHARACTERS", whole.index("## Limits") + 5)
    cut = description(facts, LINK)
    assert "## Checks" in cut
    assert "## Limits" not in cut
    assert whole.startswith(cut)
