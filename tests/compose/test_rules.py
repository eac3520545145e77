"""The alerts fire for what they are about, and each says where its run-book is."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
PROMTOOL = Path(os.environ["PLATFORM_TEST_ENVS"]) / "prometheus/bin/promtool"
MODELS = REPO / "compose/prometheus/rules/models.yml"


def promtool(*arguments: str) -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_on_models_fire_for_what_they_are_about() -> None:
    promtool("test", "rules", str(Path(__file__).parent / "rules/models.yml"))


@pytest.mark.parametrize("file", sorted(MODELS.parent.glob("*.yml")), ids=lambda file: file.stem)
def test_prometheus_takes_the_rules(file: Path) -> None:
    promtool("check", "rules", str(file))


def test_each_alert_on_models_has_its_place_in_the_run_book() -> None:
    rules = yaml.safe_load(MODELS.read_text())["groups"][0]["rules"]
    wanted = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules}
    titles = re.findall(r"^### (\w+)$", (REPO / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert wanted == {title: f"docs/monitoring.md#{title.lower()}" for title in titles}
