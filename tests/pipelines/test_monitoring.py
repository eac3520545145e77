from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prometheus_client import generate_latest

from pipelines.environment import Environment
from pipelines.monitoring import drift
from pipelines.monitoring.monitoring_store import Record, gauges, push
from pipelines.project import Drift

KINDS = {"country": "category", "price": "number", "items": "integer"}


def frame(seed: int, price: float = 50.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "country": random.choice(["de", "fr"], 2000),
            "price": random.normal(price, 10, 2000),
            "items": random.integers(1, 5, 2000),
        }
    )


def test_the_same_distribution_has_not_drifted(tmp_path: Path) -> None:
    found = drift.compare(frame(1), frame(2), KINDS, Drift(), tmp_path)
    assert (found.drifted, found.share) == ([], 0)
    assert all(item.score is not None and item.score < item.threshold for item in found.columns)


def test_a_shift_is_drift_of_that_column_and_reported(tmp_path: Path) -> None:
    current = frame(2, price=70).assign(country="it")
    found = drift.compare(frame(1), current, KINDS, Drift(), tmp_path)
    assert found.drifted == ["country", "price"]
    assert found.share == pytest.approx(2 / 3)
    for name in ("drift.html", "data_quality.html"):
        assert "<html" in (tmp_path / name).read_text()[:500].lower()


def test_a_column_that_lost_all_values_has_drifted(tmp_path: Path) -> None:
    current = frame(2).assign(price=np.nan)
    found = {item.column: item for item in drift.compare(frame(1), current, KINDS, Drift(), tmp_path).columns}
    assert (found["price"].drifted, found["price"].score, found["price"].missing_share) == (True, None, 1.0)
    never = drift.compare(frame(1).assign(price=np.nan), current, KINDS, Drift(), tmp_path)
    assert never.drifted == []


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
        report_url="http://127.0.0.1/x",
        figures={("feature_drift", "price"): 0.9, ("performance", "roc_auc"): 0.7},
    )


def test_the_gauges(record: Record) -> None:
    text = generate_latest(gauges(record)).decode()
    assert 'platform_monitoring_drift_share{version="3"} 0.5' in text
    assert 'platform_monitoring_feature_drift{name="price",version="3"} 0.9' in text
    assert 'platform_monitoring_performance{name="roc_auc",version="3"} 0.7' in text


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
