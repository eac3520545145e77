"""`score` on a real stack: a registered version, the warehouse, a crash, and Spark."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from tests.e2e.shop import Shop, open_shop
from tests.java import needs_java
from tools.scratch import REPO, Stack

ROWS = 3600
STARTED_SECONDS = 120


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose version 1 is champion and which scores in many parts."""
    with open_shop(tmp_path_factory.mktemp("batch"), stack.env) as opened:
        opened.file.write_text(opened.file.read_text() + "batch: {part_rows: 20}\n")
        opened.release()
        yield opened


def score(shop: Shop, target: str, *options: str) -> dict[str, Any]:
    return shop.step("score", "--from", f"{shop.name}.orders", "--to", f"{shop.name}.{target}", *options)


def scores(shop: Shop, target: str) -> list[tuple[Any, ...]]:
    columns = "entity_key, prediction, probability, model_version"
    return shop.sql(f"SELECT {columns} FROM {{name}}.{target} ORDER BY entity_key")  # noqa: S608 (names made here)


@pytest.fixture(scope="module")
def first(shop: Shop) -> dict[str, Any]:
    """The result of the first scoring, into the table `answers`."""
    return score(shop, "answers")


def test_a_table_is_scored_once_and_as_the_model_server_answers(shop: Shop, first: dict[str, Any]) -> None:
    assert (first["version"], first["rows"], first["scored"], first["engine"]) == (1, ROWS, ROWS, "local")
    found = scores(shop, "answers")
    assert len(found) == ROWS
    shop.await_served(1)
    keys = [key for key, *_ in found[::200]]
    rows = shop.sql("SELECT country, price, items FROM {name}.orders WHERE order_id = ANY(%s) ORDER BY order_id", keys)
    answered = httpx.post(
        f"{shop.variables['SERVING_URL']}/models/{shop.name}/predict",
        json={"records": [dict(zip(("country", "price", "items"), row, strict=True)) for row in rows]},
        headers={"Authorization": f"Bearer {shop.variables['SERVING_API_KEY']}"},
        timeout=30,
    ).json()["predictions"]
    assert [(entry["prediction"], entry["probability"]) for entry in answered] == [row[1:3] for row in found[::200]]

    again = score(shop, "answers", "--version", "1")
    assert (again["job"], again["rows"], again["scored"]) == (first["job"], ROWS, 0)
    shop.sql("INSERT INTO {name}.orders VALUES ('new', '2024-04-01', NULL, 'de', 40, 1)")
    try:
        assert score(shop, "answers")["rows"] == ROWS + 1
    finally:
        shop.sql("DELETE FROM {name}.orders WHERE order_id = 'new'")
        shop.sql("DELETE FROM {name}.answers WHERE entity_key = 'new'")
    assert scores(shop, "answers") == found
    jobs = shop.sql("SELECT rows, actor FROM batch.jobs WHERE project = '{name}' ORDER BY ended_at")
    assert jobs == [(ROWS, "e2e"), (ROWS + 1, "e2e")]


def test_a_killed_scoring_goes_on_where_it_stopped(shop: Shop, first: dict[str, Any]) -> None:
    target = f"{shop.name}.resumed"
    python = f"{shop.variables['ENVS_DIR']}/pipelines/bin/python"
    words = ["score", shop.name, "--from", f"{shop.name}.orders", "--to", target]
    process = subprocess.Popen([python, "-m", "pipelines", *words], env=shop.variables, cwd=REPO)
    deadline = time.monotonic() + STARTED_SECONDS
    while len([part for job in _unfinished(shop) for part in (job / "output").glob("*.parquet")]) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert shop.sql("SELECT to_regclass(%s)", target) == [(None,)]

    resumed = score(shop, "resumed")
    assert resumed["rows"] == ROWS
    assert 60 <= resumed["kept"] < ROWS
    assert scores(shop, "resumed") == scores(shop, "answers")
    assert _unfinished(shop) == set()


def _unfinished(shop: Shop) -> set[Path]:
    """The directories of the shop's jobs that are not finished."""
    found = Path(shop.variables["STEP_STATE_DIR"], "batch").glob("*/*/job.json")
    files = [file for file in found if file.parent.name != "incoming"]  # not whole yet
    return {file.parent for file in files if json.loads(file.read_text())["scorer"]["name"] == shop.name}


@needs_java
def test_spark_scores_a_file_as_this_process_does(shop: Shop, first: dict[str, Any], tmp_path: Path) -> None:
    rows = shop.sql("SELECT order_id, country, price, items FROM {name}.orders")
    orders = tmp_path / "orders.csv"
    pd.DataFrame(rows, columns=["order_id", "country", "price", "items"]).to_csv(orders, index=False)
    shop.declare("part_rows: 20", "part_rows: 1000, engine: spark")
    try:
        done = shop.step("score", "--from", str(orders), "--to", str(tmp_path / "scores.parquet"))
    finally:
        shop.declare("part_rows: 1000, engine: spark", "part_rows: 20")
    assert (done["engine"], done["rows"]) == ("spark", ROWS)
    found = pd.read_parquet(tmp_path / "scores.parquet").sort_values("entity_key")
    columns = ["entity_key", "prediction", "probability", "model_version"]
    assert list(found[columns].itertuples(index=False, name=None)) == scores(shop, "answers")


def test_a_version_that_is_not_there_is_told(shop: Shop) -> None:
    words = ["--from", f"{shop.name}.orders", "--to", f"{shop.name}.nothing"]
    told = shop.refused("score", *words, "--alias", "shadow")
    assert "has no version with the alias shadow" in told
    assert "its versions: 1" in told
    assert shop.sql("SELECT to_regclass('{name}.nothing')") == [(None,)]


def test_a_changed_artifact_is_not_loaded(shop: Shop) -> None:
    version = shop.mlflow.get_model_version(shop.name, "1")
    digest = version.tags["platform.artifact_digest"]
    shop.mlflow.set_model_version_tag(shop.name, "1", "platform.artifact_digest", "0" * 64)
    try:
        told = shop.refused("score", "--from", f"{shop.name}.orders", "--to", f"{shop.name}.nothing")
    finally:
        shop.mlflow.set_model_version_tag(shop.name, "1", "platform.artifact_digest", digest)
    assert "not what was logged" in told
    assert _unfinished(shop) == set()


def test_the_command_is_the_step(stack: Stack) -> None:
    done = stack.platform("score", "no_such", "--from", "a.b", "--to", "a.c", "--version", "3", "--engine", "local")
    assert done.returncode == 1
    assert "no project 'no_such'" in done.stderr
