from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.project import Limits, Release
from pipelines.release.plan import Estimate, Limit, Observation, Placement, Progress, decide, placement

START = datetime(2024, 5, 1, tzinfo=UTC)
RULES: dict[str, Any] = {
    "strategy": "canary",
    "steps": [{"share": 0, "requests": 10}, {"share": 10, "requests": 200, "time": "10m"}, {"share": 50}],
    "timeout": "2h",
}
SURE: dict[Limit, Estimate] = {
    "error_rate": Estimate(0.2, 0.1, 300),
    "latency_ratio": Estimate(3.0, 2.5, 300),
    "disagreement": Estimate(0.4, 0.3, 300),
    "output_drift": Estimate(0.5, 0.4, 300),
    "performance_loss": Estimate(0.1, 0.06, 300),
}


def rules(**changes: Any) -> Release:
    return Release.model_validate(RULES | changes)


def look(
    step: int, seen: Observation, *, in_step: timedelta = timedelta(0), total: timedelta = timedelta(0), **changes: Any
) -> tuple[str, str]:
    now = START + max(in_step, total)
    move = decide(rules(**changes), Progress(step, now - in_step, START), seen, now)
    return move.action, move.reason


def test_a_step_puts_the_candidate_where_its_share_says() -> None:
    assert [placement(rules(), step) for step in range(3)] == [
        Placement("shadow", None),
        Placement("canary", 10),
        Placement("canary", 50),
    ]


def test_a_step_ends_with_enough_requests_and_enough_time() -> None:
    hour = timedelta(hours=1)
    assert look(0, Observation(requests=9)) == ("wait", "step 1 of 3: 9 of 10 predictions")
    assert look(0, Observation(requests=10))[0] == "advance"
    assert look(1, Observation(requests=500))[0] == "wait", "the time is missing"
    assert look(1, Observation(requests=199), in_step=hour)[0] == "wait", "a request is missing"
    assert look(1, Observation(requests=200), in_step=hour)[0] == "advance"
    assert look(2, Observation())[0] == "promote", "the last step asks for nothing"


@pytest.mark.parametrize("limit", SURE)
def test_a_breach_rolls_back_and_says_why(limit: Limit) -> None:
    allowed = {"limits": {"performance_loss": 0.05}}
    action, reason = look(1, Observation(requests=3, figures={limit: SURE[limit]}), **allowed)
    assert action == "roll_back"
    assert f"release.limits.{limit}: " in reason
    unsure = Estimate(SURE[limit].value, None, 5)
    below = Estimate(SURE[limit].value, 0.001, 20)
    for figure in (unsure, below):
        assert look(1, Observation(requests=3, figures={limit: figure}), **allowed)[0] == "wait"
    unlimited = {"limits": {limit: None}}
    assert look(1, Observation(requests=3, figures={limit: SURE[limit]}), **unlimited)[0] == "wait"


def test_a_breach_goes_before_the_end_of_a_step() -> None:
    seen = Observation(requests=500, figures=SURE)
    action, reason = look(2, seen, in_step=timedelta(hours=1), limits={"performance_loss": 0.05})
    assert action == "roll_back"
    assert reason.count("release.limits.") == len(SURE), "every limit is named"


def test_a_version_that_is_not_served_is_rolled_back() -> None:
    action, reason = look(0, Observation(requests=50, refused="refused as canary: its digest differs"))
    assert (action, "its digest differs" in reason) == ("roll_back", True)


def test_what_cannot_be_seen_holds_a_release_back() -> None:
    blind = Observation(requests=50, blind="the model server's figures cannot be read")
    assert look(0, blind) == ("wait", "step 1 of 3: the model server's figures cannot be read")
    harmful = Observation(blind="no figures", figures={"disagreement": SURE["disagreement"]})
    assert look(0, harmful)[0] == "roll_back", "but what is seen still counts"


def test_a_release_that_has_not_seen_enough_in_time_is_rolled_back() -> None:
    almost, over = timedelta(minutes=119), timedelta(hours=2)
    assert look(0, Observation(requests=9), total=almost)[0] == "wait"
    action, reason = look(0, Observation(requests=9), total=over)
    assert action == "roll_back"
    assert "not enough was seen within 2h (release.timeout): step 1 of 3: 9 of 10 predictions" in reason
    assert look(0, Observation(requests=10), total=over)[0] == "advance", "enough is enough, however late"


def test_the_limits_of_the_declaration_are_the_limits_that_are_watched() -> None:
    assert set(Limits.model_fields) == set(SURE)
