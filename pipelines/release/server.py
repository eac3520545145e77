"""What the model server has counted of a release: requests that it answered and failed, by version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from contract import ALIAS_CHAMPION, ALIAS_SHADOW
from pipelines.environment import Environment
from pipelines.release.store import Row

TIMEOUT_SECONDS = 10.0
ANSWERED = "model_infer_request_success_total"
FAILED = "model_infer_request_failure_total"
SHADOW_ANSWERED = "serving_shadow_rows_total"
SHADOW_FAILED = "serving_shadow_failed_rows_total"

Counters = dict[str, float]
"""`answered` and `failed` of the candidate, `champion_answered` and `champion_failed` of the champion."""
NAMES = ("answered", "failed", "champion_answered", "champion_failed")


def counters(env: Environment, row: Row, alias: str) -> Counters | str:
    """What the model server has counted so far of the release `row`, whose candidate has `alias`, and of its champion;
    why it does not tell, if so."""
    try:
        answer = httpx.get(
            f"{env.serving_url}/metrics",
            headers={"Authorization": f"Bearer {env.serving_api_key}"},
            timeout=TIMEOUT_SECONDS,
        )
    except httpx.HTTPError as error:
        return f"the model server's figures cannot be read: {error or type(error).__name__}"
    if not answer.is_success:
        return f"the model server's figures cannot be read: it answers {answer.status_code}"
    return read(answer.text, row, alias)


def read(text: str, row: Row, alias: str) -> Counters:
    """The counters in Prometheus' text format. A request that is the caller's fault (4xx) is no failure of a model."""
    found = dict.fromkeys(NAMES, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = _name(sample.name, sample.labels, row, alias)
            if name is not None:
                found[name] += sample.value
    return found


def _name(series: str, labels: Mapping[str, str], row: Row, alias: str) -> str | None:
    """The counter that a sample belongs to, if any."""
    what = {ANSWERED: "answered", FAILED: "failed"}.get(series)
    shadow = {SHADOW_ANSWERED: "answered", SHADOW_FAILED: "failed"}.get(series)
    who = (labels.get("model"), labels.get("version"))
    if shadow is not None and alias == ALIAS_SHADOW:
        return shadow if who == (row.project, str(row.version)) else None
    if what is None or not labels.get("status_code", "5").startswith("5"):
        return None
    if who == (row.project, str(row.version)) and labels.get("role") == alias:
        return what
    if who == (row.project, str(row.champion)) and labels.get("role") == ALIAS_CHAMPION:
        return f"champion_{what}"
    return None


def since(marks: Mapping[str, Any], now: Counters) -> dict[str, Any]:
    """The marks of a step brought up to `now`: `counters` as last seen, `total` what was counted in the step.

    A counter that is less than it was has begun again with the model server. Pure.
    """
    last: Mapping[str, float] = marks.get("counters", now)
    total: Mapping[str, float] = marks.get("total", {})
    grown = {name: _grown(last.get(name, 0.0), now[name]) for name in NAMES}
    return {**marks, "counters": now, "total": {name: total.get(name, 0.0) + grown[name] for name in NAMES}}


def _grown(last: float, now: float) -> float:
    return now - last if now >= last else now
