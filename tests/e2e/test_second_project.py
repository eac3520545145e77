"""A second project, of another kind than the sample, in a checkout that has no sample: a regression on files of its own
goes through the whole loop, by the command line and Airflow's DAGs alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import cycle

import pandas as pd
import pytest

from tests.e2e.conftest import ENVS
from tests.e2e.rental import NAME, Rental, hires, open_rental
from tests.e2e.trade import awaited

STEPS = [{"share": 30, "requests": 30}, {"share": 70, "requests": 110}]
DECLARED = {
    "strategy: direct": "\n  ".join(
        (
            "strategy: canary",
            f"steps: {json.dumps(STEPS)}",
            # It is to answer otherwise than a champion that has never seen the spring, and on rows of all the spring.
            "limits: {disagreement: null, output_drift: null, latency_ratio: 50.0, performance_loss: 0.02}",
            "poll: 1s",
        )
    ),
    "on_new_data: true": "on_new_data: false\n  on_drift: true\n  on_performance_loss: true",
}
RELEASES = "SELECT version, strategy, state FROM releases.releases WHERE project = %s ORDER BY id"
DECISIONS = "SELECT trigger, train, evidence FROM triggers.decisions WHERE project = %s ORDER BY id"


@pytest.fixture(scope="module")
def rental() -> Iterator[Rental]:
    with open_rental(ENVS) as opened:
        yield opened


@pytest.fixture(scope="module")
def winter() -> pd.DataFrame:
    return hires(datetime(2024, 1, 1), 60, warmth=1.0)


@pytest.fixture(scope="module")
def spring() -> pd.DataFrame:
    return hires(datetime(2024, 3, 1), 60, warmth=15.0)


def land(rental: Rental, name: str, rows: pd.DataFrame) -> None:
    rows.to_csv(rental.checkout / name, index=False)
    landed = rental.run_step("land", NAME, "--file", name)
    assert landed["files"] == [f"{NAME}/{name}"]


def test_a_second_project_is_made_trained_and_served(rental: Rental, winter: pd.DataFrame) -> None:
    winter.to_csv(rental.checkout / "winter.csv", index=False)
    made = rental.platform("new", NAME, "--from", "winter.csv", check=True).stdout
    for guessed in ("entity key: hire_id", "event time: starts_at", "target: hired", "task: regression"):
        assert f"{guessed} (guessed)" in made
    file = rental.checkout / "projects" / NAME / "project.yaml"
    text = file.read_text()
    for old, new in DECLARED.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    rental.platform("check", check=True)
    rental.platform("up", check=True)
    land(rental, "winter.csv", winter)
    early = rental.request(winter.tail(1))
    assert (early.status_code, "no champion yet" in early.json()["error"]) == (503, True)

    loop = rental.platform("run", NAME, "loop", check=True)
    for part in ("ingest", "train", "monitor"):
        assert f"{NAME}__{part}" in loop.stderr
    (version,) = rental.told("models", "list", NAME)
    assert (version["version"], version["aliases"], version["metric"]) == (1, ["champion"], "r2")
    assert version["value"] > 0.8
    assert trainings(rental) == ["new_data"]
    awaited(lambda: rental.serves(1, winter.tail(1)), "version 1 in service")
    (answered,) = rental.ask(winter.tail(1))
    assert answered["predictions"][0]["prediction"] == pytest.approx(winter["hired"].iloc[-1], abs=6)
    awaited(rental.settled, "the end of the first loop")
    assert rental.airflow.get("/api/v2/importErrors").json()["import_errors"] == []


def test_the_loop_finds_the_drift_and_the_loss_and_releases_a_better_model(
    rental: Rental, spring: pd.DataFrame
) -> None:
    asked = rental.ask(spring.head(800), together=100)
    assert {answer["version"] for answer in asked} == {1}
    land(rental, "spring.csv", spring)
    path = f"/api/v2/dags/{NAME}__ingest/dagRuns"
    rental.airflow.post(path, json={"logical_date": None, "conf": {}}).raise_for_status()

    awaited(lambda: [run["state"] for run in rental.runs("ingest")] == ["success"] * 2, "the end of the ingestion")
    awaited(lambda: rental.runs("monitor") and len(trainings(rental)) == 2, "the decision to train again")
    awaited(lambda: rental.runs("train") and len(rental.sql(RELEASES)) == 2, "the release of version 2")
    check_what_the_monitor_found(rental)

    rest = [spring.iloc[start : start + 40] for start in range(800, len(spring), 40)]
    turn = cycle(rest)

    def over() -> bool:
        rental.ask(next(turn))
        return bool(rental.sql(RELEASES)[-1][-1] != "running")

    awaited(over, "the end of the release")
    assert rental.sql(RELEASES) == [(1, "direct", "promoted"), (2, "canary", "promoted")]
    seen = rental.run_step("release", NAME, "status")["figures"]
    assert seen["performance_loss"]["rows"] >= 100
    assert seen["performance_loss"]["value"] < -0.1, "the spring's model is far better on the spring"
    assert seen["error_rate"]["value"] == 0
    awaited(lambda: rental.serves(2, rest[0].head(1)), "version 2 in service")


def trainings(rental: Rental) -> list[str]:
    """What started each training that began."""
    return [trigger for trigger, train, _ in rental.sql(DECISIONS) if train]


def check_what_the_monitor_found(rental: Rental) -> None:
    """Drift of what the spring has moved, a loss that the outcomes show, and the training that came of it."""
    ((version, drift, drifted, lost, labelled, found, figures),) = rental.sql(
        "SELECT version, drift, drifted, lost_performance, labelled, performance, estimated "
        "FROM monitoring.runs WHERE project = %s"
    )
    assert (version, drift, lost, labelled) == (1, True, True, 801)
    assert {"temperature"} <= set(drifted)
    assert found["r2"] < figures["r2"]
    *before, (trigger, train, evidence) = rental.sql(DECISIONS)
    assert [row[:2] for row in before] == [("new_data", True), ("new_data", False)]
    assert (trigger, train, evidence["version"]) == ("performance", True, 1)


def test_an_answer_is_traced_to_the_files_and_the_record_names_every_run(rental: Rental, spring: pd.DataFrame) -> None:
    (answer,) = rental.ask(spring.tail(1))
    trace = rental.told("trace", answer["predictions"][0]["prediction_id"])
    assert trace["missing"] == [], trace["notes"]
    assert (trace["prediction"]["model"], trace["model"]["version"], trace["model"]["aliases"]) == (
        NAME,
        2,
        ["champion"],
    )
    assert trace["snapshot"]["rows"] == 2880
    assert [file["uri"] for file in trace["files"]] == [
        f"s3://landing/{NAME}/{name}.csv" for name in ("spring", "winter")
    ]
    assert trace["run"]["pipeline_run"].startswith(f"airflow:{NAME}__train/")
    assert trace["dbt_run"]["pipeline_run"].startswith(f"airflow:{NAME}__ingest/")

    listed = {run["id"]: run for run in rental.told("runs", "list", NAME)}
    assert {run["project"] for run in listed.values()} == {NAME}
    steps = [step["step"] for step in listed[trace["run"]["pipeline_run"]]["steps"]]
    assert steps == ["decide", "snapshot", "train", "evaluate", "register"]
    for run in (
        trace["dbt_run"]["pipeline_run"],
        *(f"airflow:{NAME}__monitor/{run['dag_run_id']}" for run in rental.runs("monitor")),
    ):
        assert listed[run]["state"] == "done"


def test_who_did_what_is_kept_and_a_person_goes_back(rental: Rental, winter: pd.DataFrame) -> None:
    newest, first = rental.told("models", "list", NAME)
    assert (newest["version"], newest["aliases"], newest["gate"]) == (2, ["champion"], "passed")
    assert newest["release"].endswith("every one of its 2 steps was within the limits")
    assert (first["version"], first["aliases"]) == (1, [])
    rental.platform("models", "rollback", NAME, "--reason", "winter is back", check=True)
    awaited(lambda: rental.serves(1, winter.head(1)), "version 1 in service again")
    actions = rental.sql("SELECT action, version, actor FROM audit.actions WHERE project = %s ORDER BY id")
    of_canary = [(action, actor.partition("/")[0]) for action, version, actor in actions if version == 2]
    assert of_canary == [
        ("release_begin", f"airflow:{NAME}__train"),
        ("release_advance", f"airflow:{NAME}__release"),
        ("release_promoted", f"airflow:{NAME}__release"),
    ]
    action, version, actor = actions[-1]
    assert (action, version, actor.endswith("@shell")) == ("rollback", 1, True)
