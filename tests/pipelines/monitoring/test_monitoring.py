from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from pipelines.environment import Environment
from pipelines.monitoring import findings
from pipelines.monitoring.drift import ColumnDrift, DriftResult
from pipelines.monitoring.monitoring_store import Record, gauges, push
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.predictions import Health
from pipelines.project import Project

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture
def record() -> Record:
    return Record(
        run_id="r1",
        project="shop",
        version=3,
        window_from=datetime(2024, 1, 1, tzinfo=UTC),
        window_to=datetime(2024, 1, 2, tzinfo=UTC),
        predictions=900,
        labelled=800,
        drift=True,
        drift_share=0.5,
        drifted=["price"],
        performance={"roc_auc": 0.7},
        performance_interval={"roc_auc": [0.65, 0.75]},
        estimated={"roc_auc": 0.72},
        lost_performance=True,
        age_days=3.5,
        report_url="http://127.0.0.1/x",
        figures={("feature_drift", "price"): 0.9, ("performance", "roc_auc"): 0.7},
    )


def test_the_gauges(record: Record) -> None:
    text = generate_latest(gauges(record)).decode()
    assert 'platform_monitoring_drift_share{version="3"} 0.5' in text
    assert 'platform_monitoring_feature_drift{name="price",version="3"} 0.9' in text
    assert 'platform_monitoring_performance{name="roc_auc",version="3"} 0.7' in text
    assert 'platform_monitoring_lost_performance{version="3"} 1.0' in text
    assert 'platform_monitoring_age_days{version="3"} 3.5' in text


class Gateway(BaseHTTPRequestHandler):
    seen: tuple[str, str, str, bytes] = ("", "", "", b"")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen = ("PUT", self.path, self.headers["Authorization"], body)
        self.send_response(200 if self.headers["Authorization"] else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_figures_are_pushed_with_credentials(env: Environment, record: Record, gateway: str) -> None:
    told = push(replace(env, pushgateway_url=gateway, pushgateway_username="pipelines"), record)
    assert told is None
    method, path, authorization, body = Gateway.seen
    assert (method, path) == ("PUT", "/metrics/job/monitoring/project/shop")
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"pipelines:hidden-7"
    assert b"platform_monitoring_drift_share" in body


def test_a_push_that_fails_is_a_warning(env: Environment, record: Record, gateway: str) -> None:
    assert "401" in (push(replace(env, pushgateway_url=gateway), record) or "")
    assert "could not be pushed" in (push(replace(env, pushgateway_url="http://127.0.0.1:9"), record) or "")


def test_without_a_gateway_nothing_is_pushed(env: Environment, record: Record) -> None:
    assert push(env, record) is None


COLUMNS = DriftResult(
    (
        ColumnDrift("country", 0.01, 0.1, 0.02, 0.3, 0, ["at", "ch"]),
        ColumnDrift("price", 0.9, 0.2, 0.0, 0.0, 4, []),
    )
)
HEALTH = Health(rows=900, without_number=0, distinct=700, p50=1.0, p95=2.0, p99=3.0)
MEASURED = Performance(800, {"roc_auc": 0.7}, (0.65, 0.75), {"roc_auc": 0.78}, lost=False)


def test_the_figures_of_a_look(project: Project) -> None:
    found = findings.figures(project, COLUMNS, HEALTH, MEASURED, {"test_roc_auc": 0.8, "test_brier": float("nan")})
    assert found["feature_outside_share", "country"] == 0.3
    assert (found["feature_drift", "price"], found["feature_drift_threshold", "price"]) == (0.9, 0.2)
    assert found["feature_mistyped", "price"] == 4
    assert (found["performance_low", "roc_auc"], found["performance_high", "roc_auc"]) == (0.65, 0.75)
    assert found["performance_loss", "roc_auc"] == pytest.approx(0.1)
    assert found["estimated_loss", "roc_auc"] == pytest.approx(0.02)
    assert found["maximum_age_days", ""] == 365
    assert found["latency_ms", "p99"] == 3
    assert ("performance_at_training", "brier") not in found


def test_the_table_names_what_was_never_seen(tmp_path: Path) -> None:
    findings.table(COLUMNS, tmp_path / "columns.csv")
    _, first, second = (tmp_path / "columns.csv").read_text().splitlines()
    assert first == "price,yes,0.9000,0.2000,0.0000,0.0000,4,"
    assert second == "country,no,0.0100,0.1000,0.0200,0.3000,0,at ch"


def test_answers_that_cannot_be_right_and_old_age_are_warnings(project: Project) -> None:
    assert findings.warnings(project, HEALTH, 364) == []
    odd = findings.warnings(project, HEALTH._replace(without_number=2, distinct=1), 366)
    assert [text.split(" answers")[0] for text in odd[:2]] == ["2 of 900", "all 900"]
    assert "maximum_age is 365d" in odd[2]


def test_the_sentence_says_what_is_known(project: Project, record: Record) -> None:
    told = findings.message(project, record)
    assert told == "version 3: 1 columns drifted (50%): price; roc_auc 0.700 (0.650 to 0.750), lost beyond doubt"
    early = replace(record, performance=None, performance_interval=None)
    assert findings.message(project, early).endswith("price; roc_auc estimated 0.720")


def test_the_alerts_use_gauges_that_are_pushed(project: Project, record: Record) -> None:
    kept = replace(record, figures=findings.figures(project, COLUMNS, HEALTH, MEASURED, {"test_roc_auc": 0.8}))
    pushed = generate_latest(gauges(kept)).decode()
    used = re.findall(r"platform_monitoring_\w+", (REPO / "compose/prometheus/rules/models.yml").read_text())
    assert used
    for name in used:
        assert f"\n{name}{{" in pushed, name
