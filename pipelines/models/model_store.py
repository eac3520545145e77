"""Models as artifacts: logged with signature and example, loaded only if they are what was registered."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import pandas as pd
import skops.io
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from contract import EXAMPLE_OUTPUT_TAG, artifact_digest, example_output
from pipelines.errors import StepError
from pipelines.project import Project, Task

MODEL_FILE = "model.skops"
EXAMPLE_ROWS = 3
REQUIREMENTS = ("scikit-learn", "skops", "pandas", "numpy")

# What a pipeline of scikit-learn's own estimators consists of; anything else could run code when it is loaded. The
# model server trusts no more than this, so what it would refuse is refused at training already.
TRUSTED_PACKAGES = ("sklearn.", "scipy.")
TRUSTED_FUNCTIONS = frozenset({"functools.partial", "sklearn.utils.validation.check_array"})

COLUMN_TYPES = {
    "object": DataType.string,
    "float64": DataType.double,
    "int64": DataType.long,
    "bool": DataType.boolean,
}
OUTPUT_TYPES: dict[Task, DataType] = {"classification": DataType.long, "regression": DataType.double}


def signature(x: pd.DataFrame, task: Task, nullable: Collection[str] = ()) -> ModelSignature:
    """One column a feature, required unless it is `nullable` or values are missing in `x`; the answer is the class
    (0, 1) or the value."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(COLUMN_TYPES[str(values.dtype)], name, required=name not in nullable and not values.isna().any())
        for name, values in x.items()
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(OUTPUT_TYPES[task])]))


def trusted_types(file: Path) -> list[str]:
    """The types in `file` that loading must be told to trust; StepError if one is no class of scikit-learn or SciPy."""
    types = skops.io.get_untrusted_types(file=file)
    foreign = [name for name in types if not _is_trusted(name)]
    if foreign:
        raise StepError(
            f"the model contains types that are not trusted: {', '.join(foreign)}",
            where=str(file.name),
            do="build it from scikit-learn's own estimators; put other preparation into dbt",
        )
    return types


def _is_trusted(name: str) -> bool:
    if name in TRUSTED_FUNCTIONS:
        return True
    module, _, attribute = name.rpartition(".")
    if not name.startswith(TRUSTED_PACKAGES):
        return False
    try:
        return isinstance(getattr(importlib.import_module(module), attribute, None), type)
    except ImportError:
        return False


def log_model(model: Any, x: pd.DataFrame, project: Project, scratch: Path) -> str:
    """Log the fitted `model` to the active run; `x` (training features) gives signature and example. The model's id."""
    file = scratch / MODEL_FILE
    skops.io.dump(model, file)
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=signature(x, project.task, project.data.nullable),
        input_example=x.head(EXAMPLE_ROWS),
        serialization_format="skops",
        skops_trusted_types=trusted_types(file),
        pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
    )
    return str(info.model_id)


def example_tags(model: Any, x: pd.DataFrame) -> dict[str, str]:
    """What the fitted `model` answers for the example that `log_model` takes from `x`, as a tag; none if it is too long
    for one."""
    rows = x.head(EXAMPLE_ROWS)
    by_class = model.predict_proba(rows).tolist() if hasattr(model, "predict_proba") else None
    text = example_output(model.predict(rows).tolist(), by_class)
    return {} if text is None else {EXAMPLE_OUTPUT_TAG: text}


def download(uri: str, target: Path) -> Path:
    """Download the model at `uri` (``models:/…``) below `target`; its directory."""
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))


def verify(directory: Path, expected_digest: str, where: str) -> None:
    """StepError about `where` if the digest of the model in `directory` is not `expected_digest`."""
    digest = artifact_digest(directory)
    if digest != expected_digest:
        expected = expected_digest or "one, but none was recorded"
        raise StepError(
            f"the artifact is not what was logged: digest {digest}, expected {expected}",
            where=where,
            do="do not use this model; train and register again",
        )


def load(directory: Path, expected_digest: str, where: str) -> Any:
    """The model in `directory`, deserialised only if its digest is `expected_digest` and all its types are trusted."""
    verify(directory, expected_digest, where)
    file = directory / MODEL_FILE
    return skops.io.load(file, trusted=trusted_types(file))
