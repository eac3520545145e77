"""A release against a registry and a store that fail at each single call: begun again, it always ends whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from pipelines.errors import StepError
from pipelines.project import Release
from pipelines.release.actions import permit
from pipelines.release.rollout import Rollout
from pipelines.release.store import Ending, Kind, Row

RULES = Release.model_validate(
    {"strategy": "canary", "steps": [{"share": 0}, {"share": 10}, {"share": 50}], "limits": {}}
)
MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """A registry and the rows of a release. Call number `fails_at` fails, its effect lost or (`late`) its answer."""

    aliases: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    row: Row | None = None
    fails_at: int | None = None
    late: bool = False
    calls: int = 0
    deleted: bool = False

    def call(self, effect: Callable[[], Any]) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if number == self.fails_at and not self.late:
            raise MlflowException("the registry is away")
        found = effect()
        if number == self.fails_at:
            raise MlflowException("the answer was lost")
        return found


class Client:
    """MLflow's client, as far as a release uses it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def search_registered_models(self, filter_string: str) -> Any:
        return self.world.call(lambda: [SimpleNamespace(aliases=dict(self.world.aliases))])

    def search_model_versions(self, filter_string: str) -> Any:
        version = filter_string.rpartition(" ")[2]
        if self.world.deleted:
            return self.world.call(list)
        return self.world.call(lambda: [SimpleNamespace(tags=dict(self.world.tags.get(version, {})))])

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.world.call(lambda: self.world.aliases.update({alias: version}))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self.world.call(lambda: self.world.aliases.pop(alias, None))

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.world.call(lambda: self.world.tags.setdefault(version, {}).update({key: value}))

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self.world.call(lambda: self.world.tags.get(version, {}).pop(key, None))


class Book:
    """The store, in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _put(self, row: Row, **changes: Any) -> Row:
        def effect() -> None:
            self.world.row = replace(row, **changes)

        self.world.call(effect)
        assert self.world.row is not None
        return self.world.row

    def go_to(self, row: Row, step: int, who: str, reason: str) -> Row:
        return self._put(row, step=step, applied=False)

    def applied(self, row: Row, marks: dict[str, Any]) -> Row:
        return self._put(row, applied=True, marks=marks)

    def end(self, row: Row, ending: Ending, reason: str) -> Row:
        return self._put(row, ending=ending, reason=reason)

    def ended(self, row: Row, who: str) -> Row:
        return self._put(row, state=row.ending)


def begun(strategy: Kind = "canary", **row: Any) -> World:
    started = Row(
        id=1,
        project="shop",
        version=4,
        champion=3,
        strategy=strategy,
        state="running",
        ending=None,
        step=0,
        applied=False,
        step_began_at=MOMENT,
        marks={},
        started_at=MOMENT,
        ended_at=None,
        actor="test",
        reason=None,
    )
    return World(aliases={"champion": "3"}, row=replace(started, **row))


def rollout(world: World) -> Rollout:
    return Rollout(Client(world), Book(world), RULES, "test", lambda row, alias: {})  # type: ignore[arg-type]


def poll(world: World, end: Ending) -> None:
    """One look: what was begun is finished; a step that stands is followed by the next, the second by the end."""
    assert world.row is not None
    carried, stood = rollout(world), world.row.applied
    row = carried.resume(world.row)
    if row.state == "running" and not stood:
        assert row.applied, "the step begins when the registry is where it wants it"
    elif row.state == "running" and row.step < 1:
        carried.advance(row, row.step + 1, "enough")
    elif row.state == "running":
        carried.finish(row, end, "because")


def follow(world: World, end: Ending) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Look until the release is over; a look that fails is followed by the next. What the callers could get meanwhile
    comes second."""
    seen = []
    for _ in range(9):
        assert world.row is not None
        if world.row.state != "running":
            break
        with suppress(MlflowException):
            poll(world, end)
        seen.append(dict(world.aliases))
    return world.aliases, seen


def test_a_release_goes_through_its_steps_and_ends_as_champion() -> None:
    world = begun()
    aliases, seen = follow(world, "promoted")
    assert seen == [{"champion": "3", "shadow": "4"}, {"champion": "3", "canary": "4"}, {"champion": "4"}]
    assert aliases == {"champion": "4"}
    tags = world.tags["4"]
    assert tags["platform.previous_champion"] == "3"
    assert tags["platform.promoted"].endswith(" by test")
    assert tags["platform.release"].startswith("champion since ")
    assert "platform.canary_share" not in tags


def test_a_candidate_that_is_rolled_back_leaves_no_trace_in_the_traffic() -> None:
    world = begun()
    aliases, _ = follow(world, "rolled_back")
    assert aliases == {"champion": "3"}
    assert world.tags["4"] == {"platform.release": "rolled back: because"}


def calls_of(end: Ending) -> int:
    world = begun()
    follow(world, end)
    return world.calls


@pytest.mark.parametrize("late", [False, True], ids=["the call is lost", "its answer is lost"])
@pytest.mark.parametrize("end", ["promoted", "rolled_back"])
def test_a_failure_at_any_call_leaves_nothing_half_done(end: Ending, late: bool) -> None:
    whole = {"promoted": {"champion": "4"}, "rolled_back": {"champion": "3"}}[end]
    for number in range(calls_of(end)):
        world = begun()
        world.fails_at, world.late = number, late
        aliases, seen = follow(world, end)
        assert (aliases, world.row and world.row.state) == (whole, end), f"call {number}"
        assert "platform.canary_share" not in world.tags["4"], f"call {number}"
        assert all(given["champion"] in ("3", "4") for given in seen), "there is a champion at every moment"


@pytest.mark.parametrize("late", [False, True])
def test_a_rollback_by_a_person_that_was_interrupted_is_finished(late: bool) -> None:
    for number in range(12):
        world = begun("rollback", version=3, champion=4, ending="promoted", reason="too slow")
        world.aliases = {"champion": "4"}
        world.tags = {"3": {"platform.previous_champion": "2"}}
        world.fails_at, world.late = number, late
        follow(world, "promoted")
        assert world.aliases == {"champion": "3"}
        assert world.tags["3"]["platform.previous_champion"] == "2", "the way further back is kept"
        assert world.tags["4"]["platform.release"] == "rolled back to version 3: too slow"


@pytest.mark.parametrize(
    ("aliases", "applied", "state", "reason"),
    [
        ({"champion": "5", "shadow": "4"}, True, "cancelled", "the champion is now version 5"),
        ({"shadow": "4"}, True, "cancelled", "no version any more"),
        ({"champion": "3"}, True, "cancelled", "somebody else took the alias shadow off it"),
        ({"champion": "4", "shadow": "4"}, True, "promoted", "somebody else made it champion"),
        ({"champion": "3"}, False, "running", None),
    ],
)
def test_aliases_that_somebody_else_moves_end_the_release(
    aliases: dict[str, str], applied: bool, state: str, reason: str | None
) -> None:
    world = begun(applied=applied)
    world.aliases = aliases
    assert world.row is not None
    row = rollout(world).resume(world.row)
    assert row.state == state
    assert reason is None or reason in (row.reason or "")
    if state != "running":
        assert set(world.aliases) <= {"champion"}, "the candidate is out of the traffic"
    assert world.aliases.get("champion") == aliases.get("champion"), "their champion stays"


@pytest.mark.parametrize("row", [{}, {"applied": True}, {"ending": "promoted"}, {"ending": "rolled_back"}])
def test_a_version_that_was_deleted_ends_its_release(row: dict[str, Any]) -> None:
    world = begun(**row)
    world.deleted = True
    assert world.row is not None
    assert rollout(world).resume(world.row).state == row.get("ending", "cancelled").replace("promoted", "cancelled")
    assert (world.aliases, world.tags) == ({"champion": "3"}, {})


def test_a_declaration_with_fewer_steps_ends_the_release() -> None:
    world = begun(applied=True, step=3)
    assert world.row is not None
    assert rollout(world).resume(world.row).state == "cancelled"


def test_an_account_that_may_not_is_told_so_in_one_message() -> None:
    class Denying:
        def set_registered_model_tag(self, *_: str) -> None:
            raise MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.raises(StepError, match="the account bob may not change what this model serves"):
        permit(Denying(), "shop", "bob")  # type: ignore[arg-type]
