from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pipelines.environment import Environment
from pipelines.release.server import counters, read, since
from pipelines.release.store import Row

ROW = Row(
    id=1,
    project="shop",
    version=4,
    champion=3,
    strategy="canary",
    state="running",
    ending=None,
    step=0,
    applied=True,
    step_began_at=datetime(2024, 1, 1, tzinfo=UTC),
    marks={},
    started_at=datetime(2024, 1, 1, tzinfo=UTC),
    ended_at=None,
    actor="test",
    reason=None,
)
TEXT = """\
# TYPE model_infer_request_success counter
model_infer_request_success_total{model="shop",version="3",role="champion"} 900
model_infer_request_success_total{model="shop",version="4",role="canary"} 90
model_infer_request_success_total{model="other",version="4",role="canary"} 7
# TYPE model_infer_request_failure counter
model_infer_request_failure_total{model="shop",version="3",role="champion",status_code="500"} 2
model_infer_request_failure_total{model="shop",version="4",role="canary",status_code="500"} 5
model_infer_request_failure_total{model="shop",version="4",role="canary",status_code="503"} 1
model_infer_request_failure_total{model="shop",version="4",role="canary",status_code="422"} 40
# TYPE serving_shadow_rows counter
serving_shadow_rows_total{model="shop",version="4"} 10
# TYPE serving_shadow_failed_rows counter
serving_shadow_failed_rows_total{model="shop",version="4"} 3
"""


def test_what_a_caller_did_wrong_is_no_failure_of_a_version() -> None:
    assert read(TEXT, ROW, "canary") == {"answered": 90, "failed": 6, "champion_answered": 900, "champion_failed": 2}


def test_a_shadow_is_counted_in_rows_of_its_own() -> None:
    assert read(TEXT, ROW, "shadow") == {"answered": 10, "failed": 3, "champion_answered": 900, "champion_failed": 2}


def test_a_step_counts_from_its_beginning_and_over_a_restart_of_the_server() -> None:
    def now(answered: float, failed: float) -> dict[str, float]:
        return {"answered": answered, "failed": failed, "champion_answered": 0.0, "champion_failed": 0.0}

    marks = since({"counters": now(100, 5), "other": 1}, now(110, 5))
    assert (marks["total"]["answered"], marks["total"]["failed"], marks["other"]) == (10, 0, 1)
    marks = since(marks, now(4, 1))
    assert (marks["total"]["answered"], marks["total"]["failed"]) == (14, 1)
    assert since({}, now(100, 5))["total"]["answered"] == 0, "what was before the first look is not the step's"


def test_a_server_that_is_away_is_a_reason_to_wait(env: Environment) -> None:
    told = counters(replace(env, serving_url="http://127.0.0.1:9"), ROW, "canary")
    assert isinstance(told, str)
    assert "figures cannot be read" in told
