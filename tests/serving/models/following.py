"""What the tests of a follower ask of it, of its metrics and of its models."""

from pathlib import Path

import pytest

from contract import DIGEST_TAG, artifact_digest
from serving.errors import RequestError
from serving.metrics import Metrics
from serving.models.follower import Follower


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settle(follower: Follower) -> None:
    follower.poll()
    assert follower.join(30)


def champion(follower: Follower, name: str = "m") -> int:
    found = follower.catalog.find(name).champion
    assert found is not None
    return found.version


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def info(metrics: Metrics, version: int, role: str = "champion") -> float | None:
    labels = {"model": "m", "version": str(version), "role": role, "run_id": f"run-{version}"}
    return sum(
        found.value
        for family in metrics.registry.collect()
        for found in family.samples
        if found.name == "serving_model_info" and labels.items() <= found.labels.items()
    )


def refused(follower: Follower, name: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        follower.catalog.find(name)
    return caught.value


def failure(follower: Follower, role: str = "champion", name: str = "m") -> str:
    return follower.catalog.failures[name, role].reason


def digest(directory: Path) -> dict[str, str]:
    return {DIGEST_TAG: artifact_digest(directory)}
