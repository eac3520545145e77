"""Snapshot, train, evaluate and register, each as its command, on a real stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import mlflow
import pytest
from mlflow.entities import Run

from contract import DIGEST_TAG, ENTITY_KEY_TAG, EXAMPLE_OUTPUT_TAG, GATE_TAG, SNAPSHOT_TAG, artifact_digest
from pipelines.environment import Environment
from pipelines.warehouse import step_lock
from tests.e2e.shop import Shop, open_shop
from tools.scratch import Stack


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, stack.env) as opened:
        yield opened


@pytest.fixture(scope="module")
def broken(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that trains with little memory, for entry points that fail."""
    with open_shop(tmp_path_factory.mktemp("broken"), stack.env) as opened:
        opened.declare("  seed: 3", "  seed: 3\n  resources: {memory_mb: 200}")
        yield opened


@pytest.fixture(scope="module")
def overtaken(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    """A shop whose version 1 is champion, and a candidate of the same rows that was judged when there was none."""
    with open_shop(tmp_path_factory.mktemp("overtaken"), stack.env) as opened:
        early = opened.step("train")["run_id"]
        opened.step("evaluate", "--run-id", early)
        opened.release()
        yield opened, early


def newest_training(shop: Shop) -> Run:
    experiment = shop.mlflow.get_experiment_by_name(shop.name)
    assert experiment is not None
    return shop.mlflow.search_runs([experiment.experiment_id], "tags.`platform.step` = 'train'")[0]


def test_the_same_rows_and_seed_give_the_same_metrics(shop: Shop) -> None:
    snapshot = shop.step("snapshot")
    assert snapshot["rows"] == 3600
    first = shop.step("train")
    again = shop.step("train", "--snapshot", snapshot["uri"])
    assert first["snapshot"] == again["snapshot"] == snapshot["uri"]
    assert first["metrics"] == again["metrics"]
    shop.declare("seed: 3", "seed: 4")
    shop.declare("max_iter: 20", "max_iter: 20, max_features: 0.5")
    assert shop.step("train")["metrics"] != first["metrics"]
    shop.sql("UPDATE {name}.orders SET price = price + 1 WHERE order_id = '1-7'")
    assert shop.step("snapshot")["uri"] != snapshot["uri"]


def test_nothing_new_is_not_trained_on_again_when_told_so(shop: Shop) -> None:
    first = shop.step("train", "--reuse")
    again = shop.step("train", "--reuse")
    assert (first["reused"], again["reused"]) == (False, True)
    assert again["run_id"] == first["run_id"]
    assert again["metrics"] == first["metrics"]
    shop.declare("seed: 3", "seed: 4")
    assert not shop.step("train", "--reuse")["reused"]
    shop.sql("UPDATE {name}.orders SET price = price + 1 WHERE order_id = '1-7'")
    assert not shop.step("train", "--reuse")["reused"]


def test_a_run_holds_all_that_is_needed_to_judge_and_repeat_it(shop: Shop, tmp_path: Path) -> None:
    result = shop.step("train")
    run = shop.mlflow.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "3"
    assert run.data.params["max_iter"] == "20"
    assert run.data.params["test_from"].startswith("2024-03-01")
    assert run.data.metrics["rows_train"] == 2400
    assert run.data.metrics["rows_test"] == 1200
    for window in ("train", "test"):
        for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error"):
            assert f"{window}_{name}" in run.data.metrics
    assert run.data.tags["platform.actor"] == "e2e"
    assert run.data.tags["mlflow.source.git.commit"] == "0" * 40
    assert run.inputs is not None
    dataset = run.inputs.dataset_inputs[0].dataset
    assert result["snapshot"] in dataset.source
    assert dataset.digest == result["snapshot"].rsplit("/", 1)[1][:32]
    files = {path.name for path in Path(mlflow.artifacts.download_artifacts(run_id=result["run_id"])).rglob("*.*")}
    wanted = {"roc.png", "calibration.png", "importance.png", "slice_country.png", "slices.csv", "importance.csv"}
    assert wanted <= files
    model = mlflow.models.get_model_info(f"models:/{run.data.tags['platform.model_id']}")
    assert model.signature is not None
    assert [(column.name, column.required) for column in model.signature.inputs] == [
        ("country", False),
        ("price", True),
        ("items", True),
    ]
    assert model.saved_input_example_info is not None
    assert model.flavors["sklearn"]["serialization_format"] == "skops"


def test_a_candidate_that_passes_becomes_champion_once(shop: Shop, tmp_path: Path) -> None:
    first = shop.release()
    assert (first["version"], first["alias"], first["passed"]) == (1, "champion", True)
    again = shop.step("register", "--run-id", first["run_id"])
    assert (again["version"], again["alias"]) == (1, "champion")
    version = shop.mlflow.get_model_version(shop.name, "1")
    downloaded = mlflow.artifacts.download_artifacts(f"models:/{shop.name}/1", dst_path=str(tmp_path / "model"))
    assert version.tags[DIGEST_TAG] == artifact_digest(Path(downloaded))
    assert version.tags[ENTITY_KEY_TAG] == "order_id"
    assert version.tags[GATE_TAG] == "passed"
    assert version.tags[SNAPSHOT_TAG].startswith("s3://")
    assert len(json.loads(version.tags[EXAMPLE_OUTPUT_TAG])["probabilities"]) == 3
    assert version.run_id == first["run_id"]
    assert "roc_auc" in (version.description or "")

    second = shop.release()
    assert (second["version"], second["alias"], shop.champion()) == (2, "champion", 2)
    assert shop.step("register", "--run-id", first["run_id"])["alias"] is None, "it would undo a later release"
    assert shop.champion() == 2


def test_a_verdict_against_another_champion_is_stale_until_that_is_measured_on_the_candidates_rows(
    overtaken: tuple[Shop, str],
) -> None:
    shop, early = overtaken
    assert "judge it again" in shop.refused("register", "--run-id", early)
    assert shop.champion() == 1
    verdict = shop.step("evaluate", "--run-id", early)
    assert verdict["champion_version"] == 1
    assert verdict["candidate"] == verdict["champion"], "both were made of the same rows and seed"


def test_an_artifact_that_is_not_what_was_registered_is_not_loaded(overtaken: tuple[Shop, str]) -> None:
    shop, early = overtaken
    digest = shop.mlflow.get_model_version(shop.name, "1").tags[DIGEST_TAG]
    shop.mlflow.set_model_version_tag(shop.name, "1", DIGEST_TAG, "0" * 64)
    try:
        assert "not what was logged" in shop.refused("evaluate", "--run-id", early)
    finally:
        shop.mlflow.set_model_version_tag(shop.name, "1", DIGEST_TAG, digest)


def test_a_snapshot_that_was_changed_is_refused(shop: Shop) -> None:
    snapshot = shop.step("snapshot")
    names = ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    endpoint, key, secret = (shop.variables[name] for name in names)
    s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret)
    bucket, _, path = snapshot["uri"].removeprefix("s3://").partition("/")
    content = s3.get_object(Bucket=bucket, Key=path)["Body"].read()
    s3.put_object(Bucket=bucket, Key=path, Body=content + b"x")
    assert "the snapshot was changed" in shop.refused("train", "--snapshot", snapshot["uri"])
    assert "NoSuchKey" in shop.refused("train", "--snapshot", f"s3://{bucket}/{shop.name}/none.parquet")


def test_a_wrong_declaration_starts_nothing(shop: Shop) -> None:
    shop.declare("  seed: 3", "  sede: 3")
    told = shop.refused("train")
    assert f"projects/{shop.name}/project.yaml" in told
    assert "training.sede: unknown key (did you mean seed?)" in told
    assert shop.run_count() == 0


def test_a_mart_that_does_not_fit_is_told(shop: Shop) -> None:
    shop.declare("price: number", "prize: number")
    assert f"{shop.name}.orders has no column prize" in shop.refused("snapshot")
    shop.declare("prize: number", "price: number")
    shop.sql("UPDATE {name}.orders SET is_returned = NULL")
    assert "no row whose is_returned is known" in shop.refused("snapshot")
    shop.sql("ALTER TABLE {name}.orders ALTER is_returned TYPE double precision USING 0.3")
    assert "is_returned has the value 0.3, which is neither 0 nor 1" in shop.refused("snapshot")
    shop.sql("UPDATE {name}.orders SET is_returned = 1")
    assert "the training window (before 2024-03-01) has only the class 1" in shop.refused("train")
    shop.declare(f"{shop.name}.orders", f"{shop.name}.other")
    assert f"the table {shop.name}.other does not exist" in shop.refused("train")
    assert shop.run_count() == 0


def test_a_training_that_fails_is_recorded_and_not_judged(shop: Shop) -> None:
    shop.declare("max_iter: 20", "max_iter: many")
    assert "the model cannot be fitted" in shop.refused("train")
    run = newest_training(shop)
    assert run.info.status == "FAILED"
    assert "the model cannot be fitted" in run.data.tags["platform.error"]
    assert "no finished training run" in shop.refused("evaluate")
    assert "is not a finished training run" in shop.refused("register", "--run-id", run.info.run_id)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_package", "needs the package 'no_such_package', which is not there"),
        ("def build(**_):\n    return [0] * 10**9", "needs more than the 200 MB of memory that it may use"),
    ],
)
def test_an_entry_point_that_fails_is_recorded(broken: Shop, source: str, told: str) -> None:
    (broken.directory / "train.py").write_text(source)
    assert told in broken.refused("train")
    newest = newest_training(broken)
    assert newest.info.status == "FAILED"
    assert told in newest.data.tags["platform.error"]


def test_a_step_does_not_run_twice_at_once(shop: Shop) -> None:
    env = Environment.from_env(shop.variables | {"PLATFORM_ACTOR": "airflow:shop__train/manual"})
    with step_lock(env, shop.name, "train"):
        told = shop.refused("train")
    assert "already running: started by airflow:shop__train/manual" in told
    assert shop.run_count() == 0
