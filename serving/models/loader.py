"""From a registered version to a model that has proved it can predict."""

import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import yaml

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.models import skops_file
from serving.errors import RequestError, VersionRefused
from serving.models.model import Estimator, PredictionFailed, ServedModel
from serving.models.registry import Registry, Version
from serving.models.signature import Signature, parse_signature

_INCOMING = ".incoming-"
_DIGEST = re.compile("[0-9a-f]{64}")


class Loader:
    """Loads versions, keeping their artifacts in a cache that is addressed by digest."""

    def __init__(self, registry: Registry, cache_dir: Path) -> None:
        """Load from `registry` by way of `cache_dir`, which is made if it is missing and is this process's own."""
        self._registry = registry
        self._cache = cache_dir
        cache_dir.mkdir(parents=True, exist_ok=True)
        for leftover in cache_dir.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover)

    def load(self, name: str, number: int, alias: str) -> ServedModel:
        """Download, verify, deserialise and warm up a version.

        Raises:
            VersionRefused: it may not or cannot be served.
            Exception: whatever the registry's transport raises; another try may succeed.
        """
        version = self._registry.version(name, number)
        directory = self._verified_directory(version)
        mlmodel = _read_mlmodel(directory)
        path, trusted_by_version = _model_file(directory, mlmodel)
        signature = parse_signature(mlmodel)
        estimator = Estimator(skops_file.load(path, trusted_by_version), signature)
        entity_key = version.tags.get(ENTITY_KEY_TAG) or None
        example = _warm_up(estimator, signature, _read_example(directory, mlmodel))
        return ServedModel(
            name, number, alias, version.run_id, directory.name, signature, estimator, entity_key, example
        )

    def prune(self, keep: Set[str]) -> None:
        """Remove the cached artifacts of all digests but those in `keep`."""
        for directory in self._cache.iterdir():
            if _DIGEST.fullmatch(directory.name) and directory.name not in keep:
                shutil.rmtree(directory)

    def _verified_directory(self, version: Version) -> Path:
        """Return the model directory whose digest is the registered one, downloading it if it is not cached."""
        expected = version.tags.get(DIGEST_TAG, "")
        if not _DIGEST.fullmatch(expected):
            raise VersionRefused(
                f"it has no valid tag {DIGEST_TAG} to verify its artifact against; register it with `python -m "
                "pipelines register`, or set the tag to contract.artifact_digest(model directory) and move the alias"
            )
        cached = self._cache / expected
        if cached.is_dir():
            if artifact_digest(cached) == expected:
                return cached
            shutil.rmtree(cached)
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._cache))
        try:
            downloaded = self._registry.download(version, incoming)
            actual = artifact_digest(downloaded)
            if actual != expected:
                raise VersionRefused(
                    f"its artifact is not what was registered: digest {actual}, tag {DIGEST_TAG} says {expected}; "
                    "it was not loaded. Find out who changed it, and register the model anew"
                )
            return downloaded.rename(cached)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _read_mlmodel(directory: Path) -> Mapping[str, Any]:
    path = directory / "MLmodel"
    if not path.is_file():
        raise VersionRefused("its artifact has no MLmodel file; log it with mlflow.sklearn.log_model")
    return yaml.safe_load(path.read_text())


def _model_file(directory: Path, mlmodel: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Return the file that holds the estimator and the types that whoever logged it declared."""
    flavor = mlmodel.get("flavors", {}).get("sklearn")
    if flavor is None:
        raise VersionRefused("it is not a scikit-learn model; log it with mlflow.sklearn.log_model")
    kind = flavor.get("serialization_format", "pickle")
    if kind != "skops":
        raise VersionRefused(
            f"it is stored as {kind}, which runs any code it holds when it is loaded; "
            'log it with serialization_format="skops"'
        )
    path = (directory / flavor["pickled_model"]).resolve()
    if not path.is_relative_to(directory.resolve()) or not path.is_file():
        raise VersionRefused(f"its MLmodel file names a model file that is not in the artifact: {path.name}")
    return path, flavor.get("skops_trusted_types") or []


def _read_example(directory: Path, mlmodel: Mapping[str, Any]) -> list[dict[str, Any]]:
    info = mlmodel.get("saved_input_example_info") or {}
    path = directory / str(info.get("artifact_path"))
    if info.get("type") != "dataframe" or info.get("pandas_orient") != "split" or not path.is_file():
        raise VersionRefused(
            "it has no input example to prove itself on; log it with input_example=a DataFrame of some rows"
        )
    example = json.loads(path.read_text())
    return [_without_nan(zip(example["columns"], row, strict=True)) for row in example["data"]]


def _without_nan(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in items}


def _warm_up(estimator: Estimator, signature: Signature, example: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict the whole example and its first record alone, the way requests are; return that record."""
    try:
        for records in (example, example[:1]):
            estimator.predict(signature.check(records, None))
    except RequestError as exc:
        raise VersionRefused(f"its input example does not fit its signature: {exc.message}") from exc
    except PredictionFailed as exc:
        raise VersionRefused(f"it fails on its own input example: {exc}") from exc
    return example[0]
