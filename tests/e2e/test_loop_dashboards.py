"""Every query of every dashboard, asked of the Prometheus that has watched the sample's loop."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tools.scratch import REPO, Stack

pytestmark = pytest.mark.airflow

PROJECT = "flight_delay"
FILES = sorted((REPO / "compose/grafana/dashboards").glob("*.json"))
SCRAPE_SECONDS = 15
WINDOW_SECONDS = 2 * 3600
PATIENCE_SECONDS = 90
RIGHTLY_EMPTY = {
    "stack / Alerts that fire / Firing": "nothing may be wrong",
    "airflow / Tasks that failed in the last 24 hours / Failures": "nothing may have failed",
    "serving / Aliases that are not served / Not served": "every alias may be served",
}


@dataclass(frozen=True)
class Asked:
    """A query of a panel; `over_time` if the panel is a chart."""

    name: str
    expr: str
    over_time: bool


@pytest.fixture(scope="module")
def prometheus(stack: Stack, demo: subprocess.CompletedProcess[str]) -> Iterator[httpx.Client]:
    account = stack.credentials("prometheus")
    sign_in = (account["username"], account["password"])
    with httpx.Client(base_url=account["url"] + "/api/v1", auth=sign_in, timeout=30) as client:
        yield client


def data(prometheus: httpx.Client, path: str, **params: str) -> Any:
    answer = prometheus.get(path, params=params)
    assert answer.is_success, f"{params}: {answer.text}"
    return answer.json()["data"]


def chosen(prometheus: httpx.Client, dashboard: dict[str, Any]) -> dict[str, str]:
    """What a reader chooses of each variable: the sample's project, or everything."""
    values = {"__rate_interval": f"{4 * SCRAPE_SECONDS}s"}
    for variable in dashboard["templating"]["list"]:
        wanted = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert wanted is not None, variable
        found = data(prometheus, f"/label/{wanted[2]}/values", **{"match[]": wanted[1]})
        assert found, f"{variable['name']} offers nothing"
        assert variable["multi"] or PROJECT in found, found
        values[variable["name"]] = f"({'|'.join(found)})" if variable["multi"] else PROJECT
    return values


def queries(prometheus: httpx.Client) -> Iterator[Asked]:
    for file in FILES:
        dashboard = json.loads(file.read_text())
        values = chosen(prometheus, dashboard)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                name = f"{file.stem} / {panel['title']} / {target['legendFormat']}"
                yield Asked(name, substituted(target["expr"], values), target["range"])


def substituted(expr: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], expr)


def has_figures(prometheus: httpx.Client, asked: Asked) -> bool:
    """Whether the panel would show a figure."""
    if asked.over_time:
        now = time.time()
        window = {"start": str(now - WINDOW_SECONDS), "end": str(now), "step": str(SCRAPE_SECONDS)}
        series = data(prometheus, "/query_range", query=asked.expr, **window)["result"]
        points = [point for one in series for point in one["values"]]
    else:
        points = [one["value"] for one in data(prometheus, "/query", query=asked.expr)["result"]]
    return any(math.isfinite(float(value)) for _, value in points)


def test_every_query_of_the_dashboards_has_an_answer(prometheus: httpx.Client) -> None:
    every = list(queries(prometheus))
    assert {asked.name for asked in every} >= RIGHTLY_EMPTY.keys()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while empty := [asked for asked in every if not has_figures(prometheus, asked)]:
        unexpected = [f"{asked.name}: {asked.expr}" for asked in empty if asked.name not in RIGHTLY_EMPTY]
        if not unexpected:
            break
        assert time.monotonic() < deadline, "\n".join(unexpected)
        time.sleep(1)
