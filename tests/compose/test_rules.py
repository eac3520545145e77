"""The alerts fire for what they are about and for nothing else, and each says where its run-book is."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
PROMTOOL = Path(os.environ["PLATFORM_TEST_ENVS"]) / "prometheus/bin/promtool"
FILES = sorted((REPO / "compose/prometheus/rules").glob("*.yml"))
TESTS = Path(__file__).parent / "rules"
RUN_BOOKS = {"docs/monitoring.md": "Run-book", "docs/operating.md": "Alerts"}
"""File → its section that has a heading for each alert, and no other."""


def promtool(*arguments: str) -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_alerts_fire_for_what_they_are_about(file: Path) -> None:
    promtool("check", "rules", str(file))
    promtool("test", "rules", str(TESTS / file.name))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_alert_is_seen_to_fire_and_is_not_among_those_that_are_well(file: Path) -> None:
    cases = yaml.safe_load((TESTS / file.name).read_text())["tests"]
    expected = [
        sample["labels"] for case in cases for check in case["promql_expr_test"] for sample in check["exp_samples"]
    ]
    fired = {name for labels in expected for name in re.findall(r'alertname="(\w+)"', labels)}
    assert fired == {rule["alert"] for rule in rules(file)}
    quiet = [case for case in cases if not case["promql_expr_test"][-1]["exp_samples"]]
    given = "\n".join(series["series"] for case in quiet for series in case["input_series"])
    for rule in rules(file):
        metrics = set(re.findall(r"\b[a-z]\w*_\w+\b(?=[\s{\[)]|$)", rule["expr"])) or {"up"}
        assert metrics & set(re.findall(r"^\w+", given, re.MULTILINE)), f"{rule['alert']} is never seen to be quiet"


def test_each_alert_has_its_place_in_a_run_book() -> None:
    linked = sorted(rule["annotations"]["runbook_url"] for file in FILES for rule in rules(file))
    written = []
    for file, section in RUN_BOOKS.items():
        text = (REPO / file).read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
        written += [f"{file}#{title.lower()}" for title in re.findall(r"^### (\w+)$", text, re.MULTILINE)]
    assert linked == sorted(written)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_alert_says_how_bad_it_is_and_what_to_do(file: Path) -> None:
    for rule in rules(file):
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["runbook"], rule["alert"]
