"""A real stack for the tests: up once for all of them, down at the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.scratch import Stack, new_stack

ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack that most tests share. A test that breaks something mends it.

    Airflow takes a seventh of a core while it has nothing to do, so it is held where no test is marked as needing it.
    """
    made = new_stack(ENVS)
    needed = any(item.get_closest_marker("airflow") for item in request.session.items)
    try:
        made.platform("up", check=True)
        airflow = () if needed else [name for name in made.status() if name.startswith("airflow-")]
        with made.held(airflow):
            yield made
    finally:
        made.platform("down", "--purge", "--yes", check=True)
    assert made.processes() == []
    assert not made.home.exists()


@pytest.fixture(scope="session")
def demo(stack: Stack) -> subprocess.CompletedProcess[str]:
    """The sample, taken once through the whole loop on the shared stack."""
    return stack.platform("demo", check=True, timeout=900)


@pytest.fixture
def bare_stack() -> Iterator[Stack]:
    """A stack of the test's own that is not up."""
    made = new_stack(ENVS)
    try:
        yield made
    finally:
        made.platform("down", "--purge", "--yes")
