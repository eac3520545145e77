"""Grafana cannot run where there is no container engine: its files are held to what it expects of them. That each query
has an answer is seen on a real stack (tests/e2e/test_loop_dashboards.py)."""

import json
import os
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.dashboards.__main__ import DIRECTORY, texts
from tools.dashboards.model import COLUMNS

REPO = Path(__file__).resolve().parents[2]
PROMTOOL = Path(os.environ["PLATFORM_TEST_ENVS"]) / "prometheus/bin/promtool"
COMPOSE: dict[str, Any] = yaml.safe_load((REPO / "compose/grafana/compose.yml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["grafana"]
FILES = sorted(DIRECTORY.glob("*.json"))
# Grafana's own, which Prometheus does not know
INTERVALS = {"$__rate_interval": "1m", "${project}": "shop", "$project": "shop", "$dag": ".*"}

dashboards = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def shown(file: Path) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in read(file)["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_data_says() -> None:
    written = {file: file.read_text() for file in FILES}
    assert written == texts(), "run `make dashboards`"


@dashboards
def test_a_panel_has_all_that_a_reader_needs(file: Path) -> None:
    for panel in shown(file):
        title = panel["title"]
        assert title and panel["description"], title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["targets"], title
        for target in panel["targets"]:
            assert target["expr"].strip() and target["legendFormat"], title
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}, title
    titles = [panel["title"] for panel in shown(file)]
    assert len(set(titles)) == len(titles)


@dashboards
def test_panels_lie_side_by_side(file: Path) -> None:
    panels = read(file)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] >= 0 and grid["x"] + grid["w"] <= COLUMNS, panel["title"]
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)


@dashboards
def test_queries_are_promql_and_use_no_variable_that_is_not_there(file: Path, tmp_path: Path) -> None:
    known = {variable["name"] for variable in read(file)["templating"]["list"]} | {"__rate_interval"}
    rules = []
    for panel in shown(file):
        for target in panel["targets"]:
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= known, target["expr"]
            expr = target["expr"]
            for name, value in INTERVALS.items():
                expr = expr.replace(name, value)
            rules.append({"record": "checked", "expr": expr, "labels": {"number": str(len(rules))}})
    written = tmp_path / "rules.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": file.stem, "rules": rules}]}))
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(written)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dashboards
def test_each_run_book_that_is_named_is_there(file: Path) -> None:
    for link in re.findall(r"docs/\w+\.md#[\w-]+", file.read_text()):
        page, _, place = link.partition("#")
        headings = re.findall(r"^#+ (.+)$", (REPO / page).read_text(), re.MULTILINE)
        assert place in {heading.lower().replace(" ", "-") for heading in headings}, link


def test_every_alert_is_on_a_dashboard_beside_its_figures() -> None:
    rules = [path.read_text() for path in (REPO / "compose/prometheus/rules").glob("*.yml")]
    alerts = set(re.findall(r"- alert: (\w+)", "".join(rules)))
    named = {
        name for file in FILES for panel in shown(file) for name in re.findall(r"(\w+): docs/", panel["description"])
    }
    assert named == alerts


def test_grafana_finds_its_data_source_and_the_dashboards() -> None:
    sources = yaml.safe_load(COMPOSE["configs"]["grafana-datasource"]["x-content"])["datasources"]
    assert [(source["uid"], source["type"], source["editable"]) for source in sources] == [
        ("prometheus", "prometheus", False)
    ]
    [provider] = yaml.safe_load((REPO / "compose/grafana/provisioning/dashboards.yml").read_text())["providers"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICE["volumes"] if volume.startswith("./")}
    assert mounted[provider["options"]["path"]] == "./dashboards"
    home = SERVICE["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert DIRECTORY / Path(home).name in FILES
    assert Path(home).parent == Path(provider["options"]["path"])


def test_grafana_is_optional_and_hardened_as_the_others() -> None:
    assert SERVICE["profiles"] == ["grafana"]
    assert SERVICE["x-local"] is False
    assert SERVICE["extends"] == {"file": "../common.yml", "service": "hardened"}
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", SERVICE["image"])


def test_grafana_lets_nobody_in_by_itself_and_asks_nobody() -> None:
    environment = SERVICE["environment"]
    off = {key for key, value in environment.items() if value == "false"}
    assert {
        "GF_USERS_ALLOW_SIGN_UP",
        "GF_AUTH_ANONYMOUS_ENABLED",
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "GF_PLUGINS_PREINSTALL_AUTO_UPDATE",
        "GF_PLUGINS_PLUGIN_ADMIN_ENABLED",
    } <= off
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert not [value for value in environment.values() if "PASSWORD}" in value or "SECRET_KEY}" in value]
    given = {entry["target"] for entry in SERVICE["configs"]}
    assert {value for key, value in environment.items() if key.endswith("__FILE")} <= given
