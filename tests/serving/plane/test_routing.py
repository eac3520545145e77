"""The share of a canary, and the walk from a path to a handler."""

from typing import Any

import pytest

from serving.errors import RequestError
from serving.http.routes import Route, RouteTable
from serving.plane.routing import in_share

KEYS = [f"passenger-{number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_of_all_keys_belongs_to_the_canary(share: float) -> None:
    """Six standard deviations: by chance one run in five hundred million is off by more."""
    got = sum(in_share("m", 7, key, share) for key in KEYS) / len(KEYS)
    assert abs(got - share) < 6 * (share * (1 - share) / len(KEYS)) ** 0.5


def test_a_key_keeps_its_side_and_a_growing_share_takes_nobody_back() -> None:
    small = {key for key in KEYS if in_share("m", 7, key, 0.1)}
    assert small == {key for key in KEYS if in_share("m", 7, key, 0.1)}
    assert small < {key for key in KEYS if in_share("m", 7, key, 0.5)}


def test_another_version_draws_other_keys() -> None:
    first, second = ({key for key in KEYS if in_share("m", version, key, 0.1)} for version in (7, 8))
    assert len(first & second) < 0.2 * len(first)


def test_none_and_all() -> None:
    assert not any(in_share("m", 1, key, 0.0) for key in KEYS)
    assert all(in_share("m", 1, key, 1.0) for key in KEYS)


async def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError


TABLE = RouteTable(
    [
        Route("POST", "/models/{model}/predict", "predict", _never),
        Route("GET", "/v2", None, _never),
        Route("GET", "/v2/models/{m}/versions/{v}", None, _never),
        Route("GET", "/v2/models/{m}/ready", None, _never),
        Route("POST", "/v2/models/{m}/infer", "predict", _never),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "pattern", "parameters"),
    [
        ("POST", "/models/a b/predict", "/models/{model}/predict", {"model": "a b"}),
        ("GET", "/v2", "/v2", {}),
        ("GET", "/v2/models/x/versions/3", "/v2/models/{m}/versions/{v}", {"m": "x", "v": "3"}),
        ("GET", "/v2/models/ready/ready", "/v2/models/{m}/ready", {"m": "ready"}),
    ],
)
def test_a_path_is_found(method: str, path: str, pattern: str, parameters: dict[str, str]) -> None:
    match = TABLE.find(method, path)
    assert match is not None
    assert (match.route.pattern, match.parameters) == (pattern, parameters)


@pytest.mark.parametrize(
    "path", ["/", "", "/models", "/models/a", "/models//predict", "/v2/", "/models/a/predict/x", "/docs"]
)
def test_other_paths_are_not_the_data_planes(path: str) -> None:
    assert TABLE.find("POST", path) is None


def test_a_wrong_method_is_told_the_right_one() -> None:
    with pytest.raises(RequestError) as caught:
        TABLE.find("GET", "/models/a/predict")
    assert (caught.value.status, caught.value.headers) == (405, {"Allow": "POST"})


def test_the_scope_of_a_call() -> None:
    assert TABLE.scope("POST", "/models/a/predict", lambda _: "other") == "predict"
    assert TABLE.scope("GET", "/v2", lambda _: "other") is None
    assert TABLE.scope("GET", "/keys", lambda path: "admin" if path == "/keys" else None) == "admin"
    assert TABLE.scope("DELETE", "/models/a/predict", lambda _: "other") is None
