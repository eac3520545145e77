"""From a registered version to a model that has proved it can predict."""

import json
import logging
import math
import pickle
import time
from collections.abc import Iterable, Mapping, Set
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import yaml

from contract import DIGEST_TAG, ENTITY_KEY_TAG
from serving import fast
from serving.errors import VersionRefused
from serving.models import proof, skops_file
from serving.models.cache import ArtifactCache, is_digest
from serving.models.model import Engine, Estimator, ServedModel
from serving.models.pyfunc import PyfuncEngine
from serving.models.registry import Registry, Version
from serving.models.signature import Rows, Signature, parse_signature

log = logging.getLogger(__name__)

_ALLOW = "; the owner of this server can allow that for all models with SERVING_ALLOW_PICKLE=true"
_PICKLES = frozenset({"pickle", "cloudpickle", "joblib"})


class Loader:
    """Loads versions, keeping their artifacts in a cache that is addressed by digest."""

    def __init__(self, registry: Registry, cache_dir: Path, allow_pickle: bool = False) -> None:
        """Load from `registry` by way of `cache_dir`, which is made if it is missing.

        Args:
            allow_pickle: also load what runs any code that the artifact holds.
        """
        self._registry = registry
        self._cache = ArtifactCache(cache_dir)
        self._allow_pickle = allow_pickle

    @property
    def directory(self) -> Path:
        """Where artifacts are kept."""
        return self._cache.directory

    def load(self, version: Version, role: str) -> ServedModel:
        """Download unless it is in the cache, verify, deserialise and warm up a version.

        Raises:
            VersionRefused: it may not or cannot be served.
            Exception: whatever the registry's transport raises; another try may succeed.
        """
        with self._cache.opened(_digest(version), partial(self._registry.download, version)) as directory:
            return self._build(version, role, directory)

    def restore(self, version: Version, role: str) -> ServedModel:
        """Do what `load` does without asking the registry for anything.

        Raises:
            VersionRefused: as `load`, or the artifact is not in the cache any more.
        """
        with self._cache.opened(_digest(version), None) as directory:
            return self._build(version, role, directory)

    def prune(self, keep: Set[str]) -> None:
        """Remove the cached artifacts of all digests but those in `keep`."""
        self._cache.prune(keep)

    def _build(self, version: Version, role: str, directory: Path) -> ServedModel:
        mlmodel = _read_mlmodel(directory)
        estimator = self._estimator(directory, mlmodel)
        signature = parse_signature(mlmodel)
        example = _read_example(directory, mlmodel, signature)
        rows = proof.example_rows(signature, example)
        own = PyfuncEngine(directory, signature) if estimator is None else Estimator(estimator, signature)
        proof.compare(proof.warm_up(own, rows), version.tags)
        engine = _fastest(version, estimator, own, signature, rows) if isinstance(own, Estimator) else own
        entity_key = version.tags.get(ENTITY_KEY_TAG) or None
        return ServedModel(
            name=version.name,
            version=version.number,
            role=role,
            run_id=version.run_id,
            digest=directory.name,
            signature=signature,
            engine=engine,
            classes=own.classes,
            entity_key=entity_key,
            example=example[0],
            row_seconds=_row_seconds(engine, rows),
        )

    def _estimator(self, directory: Path, mlmodel: Mapping[str, Any]) -> Any:
        """Return the scikit-learn estimator; None for a model of another flavor that may be loaded."""
        flavors = mlmodel.get("flavors", {})
        flavor = flavors.get("sklearn")
        if flavor is None:
            if self._allow_pickle and "python_function" in flavors:
                return None
            raise VersionRefused(
                "it is not a scikit-learn model; log it with mlflow.sklearn.log_model. Models of other flavors are "
                f"loaded by code that comes with them{_ALLOW}"
            )
        path = _model_file(directory, flavor)
        kind = flavor.get("serialization_format", "pickle")
        if kind == "skops":
            return skops_file.load(path, flavor.get("skops_trusted_types") or [])
        if not self._allow_pickle:
            raise VersionRefused(
                f"it is stored as {kind}, which runs any code it holds when it is loaded; "
                f'log it with serialization_format="skops"{_ALLOW}'
            )
        return _unpickle(path, kind)


def _fastest(version: Version, estimator: Any, own: Estimator, signature: Signature, rows: Rows) -> Engine:
    try:
        engine = fast.compile_fast(estimator, signature, rows, own)
        if engine is not None:
            proof.warm_up(engine, rows)
            return engine
    except Exception:
        log.exception("%s: version %d is computed by its own predict: compiling failed", version.name, version.number)
    return own


def _unpickle(path: Path, kind: str) -> Any:
    try:
        if kind == "joblib":
            return joblib.load(path)
        if kind in _PICKLES:
            with path.open("rb") as file:
                return pickle.load(file)  # noqa: S301 - the owner allowed it
    except Exception as exc:
        raise VersionRefused(f"its model file cannot be loaded: {type(exc).__name__}: {exc}") from exc
    raise VersionRefused(f"it is stored as {kind}, which this server does not know")


def _digest(version: Version) -> str:
    digest = version.tags.get(DIGEST_TAG, "")
    if not is_digest(digest):
        raise VersionRefused(
            f"it has no valid tag {DIGEST_TAG} to verify its artifact against; register it with `python -m "
            "pipelines register`, or set the tag to contract.artifact_digest(model directory)"
        )
    return digest


def _row_seconds(engine: Engine, rows: Rows) -> float:
    """Return the processor time of one call with one row."""
    encoded = engine.encode(Rows(1, {name: values[:1] for name, values in rows.columns.items()}, [None]))
    engine.predict(encoded)
    started = time.thread_time()
    engine.predict(encoded)
    return time.thread_time() - started


def _read_mlmodel(directory: Path) -> Mapping[str, Any]:
    path = directory / "MLmodel"
    if not path.is_file():
        raise VersionRefused("its artifact has no MLmodel file; log it with mlflow.sklearn.log_model")
    return yaml.safe_load(path.read_text())


def _model_file(directory: Path, flavor: Mapping[str, Any]) -> Path:
    path = (directory / flavor["pickled_model"]).resolve()
    if not path.is_relative_to(directory.resolve()) or not path.is_file():
        raise VersionRefused(f"its MLmodel file names a model file that is not in the artifact: {path.name}")
    return path


def _read_example(directory: Path, mlmodel: Mapping[str, Any], signature: Signature) -> list[dict[str, Any]]:
    """Return the input example as records; MLflow keeps that of a tensor as a list of rows."""
    info = mlmodel.get("saved_input_example_info") or {}
    path = directory / str(info.get("artifact_path"))
    kind = (info.get("type"), info.get("pandas_orient"))
    records: list[dict[str, Any]] = []
    if path.is_file() and kind == ("dataframe", "split"):
        example = json.loads(path.read_text())
        records = [_without_nan(zip(example["columns"], row, strict=True)) for row in example["data"]]
    elif path.is_file() and kind == ("ndarray", None):
        names = [field.name for field in signature.fields]
        records = [_without_nan(zip(names, row, strict=True)) for row in json.loads(path.read_text())]
    if not records:
        raise VersionRefused(
            "it has no input example to prove itself on; log it with input_example=a DataFrame of some rows"
        )
    return records


def _without_nan(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in items}
