"""The version that scores, and the columns that it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from contract import DIGEST_TAG, artifact_digest
from pipelines.batch import model
from pipelines.batch.model import Scorer, fetch, find
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.project import Project
from tests.pipelines.batch.cases import orders

FEATURES = ["country", "price", "items"]


class Registry:
    """A registry with two versions; the second is champion."""

    def search_model_versions(self, filter_string: str, max_results: int) -> list[ModelVersion]:
        assert filter_string == "name = 'shop'"
        return [ModelVersion("shop", "2", 0), ModelVersion("shop", "10", 0)]

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        assert alias == "champion"
        return ModelVersion(name, "10", 0)


def test_a_version_is_found_by_number_or_alias(project: Project) -> None:
    registry = Registry()
    assert find(registry, project, 2, None).version == "2"
    assert find(registry, project, None, None).version == "10"
    assert find(registry, project, None, "champion").version == "10"


def test_a_wrong_choice_is_told(project: Project) -> None:
    with pytest.raises(StepError, match="shop has no version 3") as refusal:
        find(Registry(), project, 3, None)
    assert refusal.value.do == "its versions: 2, 10"
    with pytest.raises(StepError, match="either --version or --alias"):
        find(Registry(), project, 2, "champion")


def logged(
    directory: Path, monkeypatch: pytest.MonkeyPatch, signature: ModelSignature | None, digest: str | None = None
) -> ModelVersion:
    """A version whose download gives a model with this signature, registered with its digest or with `digest`."""
    model_directory = directory / "logged"
    model_directory.mkdir()
    Model(signature=signature).save(model_directory / "MLmodel")

    def download(uri: str, target: Path) -> Path:
        assert uri == "models:/shop/2"
        return Path(shutil.copytree(model_directory, target / "m"))

    monkeypatch.setattr(model.model_store, "download", download)
    tag = ModelVersionTag(DIGEST_TAG, digest or artifact_digest(model_directory))
    return ModelVersion("shop", "2", 0, tags=[tag])


def test_what_a_version_takes_is_what_its_signature_says(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = logged(tmp_path, monkeypatch, model_store.signature(orders(50)[FEATURES], "classification"))
    found = fetch(version, project, tmp_path)
    assert found.features == {"country": "category", "price": "number", "items": "integer"}
    assert (found.required, found.entity_key) == (("price", "items"), "order_id")
    assert found.digest == artifact_digest(tmp_path / "logged")
    assert Scorer.from_dict(found.to_dict()) == found
    assert (tmp_path / "model" / "MLmodel").is_file()


@pytest.mark.parametrize(
    ("signature", "told"),
    [(None, "it has no signature"), (ModelSignature(Schema([ColSpec(DataType.datetime, "at")])), "cannot be scored")],
)
def test_a_version_whose_columns_are_not_known_is_told(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signature: ModelSignature | None, told: str
) -> None:
    version = logged(tmp_path, monkeypatch, signature)
    with pytest.raises(StepError, match=told):
        fetch(version, project, tmp_path)


def test_a_version_that_is_not_what_was_registered_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = logged(tmp_path, monkeypatch, None, digest="0" * 64)
    with pytest.raises(StepError, match="not what was logged") as refusal:
        fetch(version, project, tmp_path)
    assert refusal.value.where == "shop version 2"
