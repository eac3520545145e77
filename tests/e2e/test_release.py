"""Guarded releases on a real stack: traffic through the model server, outcomes of the mart, roles of real accounts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from contract import ALIAS_CHAMPION, DIGEST_TAG
from pipelines.errors import StepError
from pipelines.release import person, store, watch
from pipelines.release.answers import ANSWERS
from tests.e2e.shop import open_shop
from tests.e2e.trade import GOOD, INVERTED, Trade, awaited, models
from tools.scratch import Stack


@pytest.fixture(scope="module")
def trade(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trade]:
    with open_shop(tmp_path_factory.mktemp("trade"), stack.env) as shop:
        assert shop.release()["alias"] == ALIAS_CHAMPION, "the first version is always direct"
        shop.sql("UPDATE {name}.orders SET is_returned = NOT is_returned")
        shop.declare("max_loss: 0.01", "max_loss: 1.0")
        shop.release()
        shop.sql("UPDATE {name}.orders SET is_returned = NOT is_returned")
        opened = Trade(shop)
        person.rollback(opened.env, opened.project, "it was trained on inverted labels")
        shop.await_served(GOOD)
        yield opened


@pytest.fixture(autouse=True)
def settled(trade: Trade) -> Iterator[None]:
    """Every test finds version 1 as champion, no release, and the declaration as it was."""
    declared = trade.shop.file.read_text()
    yield
    trade.shop.file.write_text(declared)
    with store.opened(trade.env) as held:
        running = held.running(trade.shop.name)
    if running is not None:
        person.rollback(trade.env, trade.project, "the test is over")
    if trade.shop.champion() != GOOD:
        person.promote(trade.env, trade.project, GOOD, "the test is over")
    awaited(lambda: trade.served() == {ALIAS_CHAMPION: GOOD}, "version 1 alone")


def test_a_canary_goes_through_its_steps_and_becomes_champion(trade: Trade) -> None:
    version = trade.candidate(GOOD)
    assert trade.begin(version) == "shadow"
    assert trade.begin(version) == "shadow", "a call that is repeated changes nothing"
    assert trade.aliases() == {"champion": GOOD, "shadow": version}
    told = trade.shop.call("release", "watch")
    assert told.returncode == 99, told.stderr
    assert "0 of 30 predictions" in told.stderr
    trade.await_shadow(version)
    assert set(trade.ask(40)) == {"champion"}
    awaited(lambda: trade.poll()["step"] == 2, "the step after thirty predictions of the shadow")
    assert trade.aliases() == {"champion": GOOD, "canary": version}
    assert trade.tags(version)["platform.canary_share"] == "50"
    awaited(lambda: trade.served().get("canary") == version, "the canary")
    roles = trade.ask(100)
    assert 25 <= roles.count("canary") <= 75
    done = trade.poll() if roles.count("canary") >= 40 else None
    if done is None:
        trade.ask(100)
        done = trade.poll()
    assert (done["state"], done.get("skip")) == ("promoted", None)
    seen = done["figures"]
    assert seen["error_rate"]["value"] == 0
    assert seen["error_rate"]["rows"] == seen["requests"] >= 40, "what the server counted is what it wrote down"
    assert seen["disagreement"]["value"] == 0, "it is the same model"
    assert trade.aliases() == {"champion": version}
    assert "platform.canary_share" not in trade.tags(version)
    assert trade.tags(version)["platform.previous_champion"] == str(GOOD)
    actions = [action for action, of, _, _ in trade.audited() if of == version]
    assert actions == ["release_begin", "release_advance", "release_promoted"]
    assert trade.begin(version) == "champion"
    assert trade.poll()["state"] == "promoted", "nothing is left to watch"


def test_looks_that_see_nothing_new_are_one_observation(trade: Trade) -> None:
    version = trade.candidate(GOOD)
    trade.begin(version)
    seen = "SELECT o.at, o.verdict FROM releases.observations o JOIN releases.releases r ON o.release = r.id "
    seen += "WHERE r.project = '{name}' AND r.version = %s"
    trade.poll()
    ((first, verdict),) = trade.shop.sql(seen, version)
    trade.poll()
    ((again, same),) = trade.shop.sql(seen, version)
    assert again > first
    assert same == verdict


@pytest.mark.parametrize("limit", ["disagreement", "performance_loss"])
def test_a_breach_rolls_back_within_one_poll(trade: Trade, limit: str) -> None:
    if limit == "performance_loss":
        trade.shop.declare("disagreement: 0.25, performance_loss: null", "disagreement: null, performance_loss: 0.05")
    trade.shop.declare("{share: 0, requests: 30}, {share: 50", "{share: 50")
    version = trade.candidate(INVERTED)
    assert trade.begin(version) == "canary"
    awaited(lambda: trade.served().get("canary") == version, "the canary")
    trade.ask(120, "?alias=canary")
    done = trade.poll()
    assert done["state"] == "rolled_back"
    assert f"release.limits.{limit}: " in done["reason"]
    assert trade.aliases() == {"champion": GOOD}
    assert trade.tags(version)["platform.release"].startswith("rolled back: its ")
    assert "platform.canary_share" not in trade.tags(version)
    assert trade.begin(version) is None, "it does not come back by itself"
    awaited(lambda: trade.served() == {"champion": GOOD}, "the canary's end")


def test_a_shadow_is_held_against_what_was_answered(trade: Trade) -> None:
    version = trade.candidate(INVERTED)
    assert trade.begin(version) == "shadow"
    trade.await_shadow(version)
    trade.ask(40)
    awaited(lambda: trade.poll()["state"] == "rolled_back", "the end of the release")
    with store.opened(trade.env) as held:
        row = held.latest(trade.shop.name, version)
    assert row is not None
    assert "away from the champion's for the same rows" in (row.reason or "")


def test_a_version_that_is_not_served_is_rolled_back(trade: Trade) -> None:
    version = trade.candidate(GOOD, **{DIGEST_TAG: "0" * 64})
    trade.begin(version)
    awaited(lambda: "platform.serving" in trade.tags(version), "the refusal")
    done = trade.poll()
    assert done["state"] == "rolled_back"
    assert "the model server does not serve it: refused as shadow" in done["reason"]


def test_another_version_waits_while_a_release_is_running(trade: Trade) -> None:
    first, second = trade.candidate(GOOD), trade.candidate(GOOD)
    trade.begin(first)
    assert trade.begin(second) is None
    assert trade.tags(second)["platform.release"] == f"waiting: the release of version {first} is running"
    assert trade.aliases() == {"champion": GOOD, "shadow": first}
    done = person.promote(trade.env, trade.project, second, "the second is better")
    assert (done["version"], done["cancelled"]) == (second, first)
    assert trade.aliases() == {"champion": second}
    assert trade.tags(first)["platform.release"].startswith("cancelled: ")
    assert person.rollback(trade.env, trade.project, "it is not")["version"] == GOOD
    assert trade.tags(second)["platform.release"] == f"rolled back to version {GOOD}: it is not"


def test_a_registry_that_is_away_changes_nothing_and_the_next_poll_goes_on(
    trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trade.candidate(GOOD)
    trade.begin(version)
    with monkeypatch.context() as away:
        away.setattr("pipelines.tracking.CLIENT_SETTINGS", {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
        with pytest.raises(StepError, match=r"127\.0\.0\.1:9"):
            watch.run(replace(trade.env, mlflow_uri="http://127.0.0.1:9"), trade.project, "watch")
    assert trade.aliases() == {"champion": GOOD, "shadow": version}
    assert trade.poll()["state"] == "running"


def test_somebody_who_takes_the_alias_off_has_ended_the_release(trade: Trade) -> None:
    version = trade.candidate(GOOD)
    trade.begin(version)
    trade.shop.mlflow.delete_registered_model_alias(trade.shop.name, "shadow")
    done = trade.poll()
    assert (done["state"], done["reason"]) == ("cancelled", "somebody else took the alias shadow off it")


def test_only_who_may_change_the_model_may_promote(stack: Stack, trade: Trade) -> None:
    owner = stack.credentials("mlflow")
    reader, editor = f"reader-{uuid4().hex[:6]}", f"editor-{uuid4().hex[:6]}"
    password = uuid4().hex
    with httpx.Client(base_url=owner["url"], auth=(owner["username"], owner["password"]), timeout=30) as admin:
        for name in (reader, editor):
            body = {"username": name, "password": password}
            admin.post("/api/2.0/mlflow/users/create", json=body).raise_for_status()
        grant = {"username": editor, "resource_type": "registered_model", "resource_id": trade.shop.name}
        answer = admin.post("/api/3.0/mlflow/users/permissions/grant", json={**grant, "permission": "EDIT"})
        assert answer.is_success, answer.text
    version = trade.candidate(GOOD)
    accounts = {"MLFLOW_TRACKING_PASSWORD": password}
    words = ("promote", trade.shop.name, str(version), "--reason", "it is better")
    refused = models(trade.shop, *words, account={"MLFLOW_TRACKING_USERNAME": reader, **accounts})
    assert refused.returncode == 1
    assert f"the account {reader} may not change what this model serves" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert trade.aliases() == {"champion": GOOD}
    action, of, actor, details = trade.audited()[-1]
    assert (action, of, actor, "may not" in details["refused"]) == ("promote", version, f"{reader}@mlflow", True)

    done = models(trade.shop, *words, "--json", account={"MLFLOW_TRACKING_USERNAME": editor, **accounts})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["version"], told["previous"], told["actor"]) == (version, GOOD, f"{editor}@mlflow")
    assert trade.aliases() == {"champion": version}
    action, of, actor, details = trade.audited()[-1]
    assert (action, of, actor, details["reason"]) == ("promote", version, f"{editor}@mlflow", "it is better")


def test_a_refused_version_is_promoted_only_by_force(trade: Trade) -> None:
    version = trade.candidate(GOOD)
    trade.shop.mlflow.set_model_version_tag(trade.shop.name, str(version), "platform.gate", "refused: too slow")
    with pytest.raises(StepError, match="refused: too slow"):
        person.promote(trade.env, trade.project, version, "in a hurry")
    assert person.promote(trade.env, trade.project, version, "in a hurry", force=True)["version"] == version
    with pytest.raises(StepError, match="champion already"):
        person.promote(trade.env, trade.project, version, "again")


def test_versions_are_listed_shown_and_compared(trade: Trade) -> None:
    listed = json.loads(models(trade.shop, "list", trade.shop.name, "--limit", "100", "--json").stdout)
    by_version = {entry["version"]: entry for entry in listed}
    assert by_version[GOOD]["aliases"] == ["champion"]
    assert by_version[GOOD]["metric"] == "roc_auc"
    assert "rolled back to version 1" in by_version[INVERTED]["release"]
    shown = json.loads(models(trade.shop, "show", trade.shop.name, "--json").stdout)
    assert (shown["version"], shown["features"]) == (GOOD, ["country", "price", "items"])
    assert [release["state"] for release in shown["releases"]][-1] == "promoted"
    compared = json.loads(models(trade.shop, "compare", trade.shop.name, "1", "2", "--json").stdout)
    assert "roc_auc" in compared["differences"]
    assert "max_iter" not in compared["differences"]
    for words in (("list",), ("show", trade.shop.name), ("compare", trade.shop.name, "1", "2")):
        told = models(trade.shop, *words)
        assert (told.returncode, "roc_auc" in told.stdout) == (0, True), told.stderr
    missing = models(trade.shop, "show", trade.shop.name, "999")
    assert (missing.returncode, "there is no version 999" in missing.stderr) == (1, True)


def test_a_value_is_read_as_the_answer_of_a_regression(trade: Trade) -> None:
    query = sql.SQL("SELECT {answer} FROM (VALUES ('1.5'::jsonb, NULL::float8)) p(prediction, probability)")
    with psycopg.connect(trade.env.warehouse_url) as connection:
        assert connection.execute(query.format(answer=ANSWERS["regression"])).fetchall() == [(1.5,)]
        assert connection.execute(query.format(answer=ANSWERS["classification"])).fetchall() == [(None,)]
