"""The version that scores: found in the registry, downloaded, and asked which columns it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.types import DataType

from contract import ALIAS_CHAMPION, DIGEST_TAG, GATE_TAG
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.progress import say
from pipelines.project import FeatureType, Project, Task

_KINDS: dict[DataType, FeatureType] = {
    DataType.string: "category",
    DataType.double: "number",
    DataType.float: "number",
    DataType.long: "integer",
    DataType.integer: "integer",
    DataType.boolean: "boolean",
}


@dataclass(frozen=True)
class Scorer:
    """A registered version and what it takes: `features` with their types, of which `required` may not be missing."""

    name: str
    version: int
    digest: str
    task: Task
    entity_key: str
    features: dict[str, FeatureType]
    required: tuple[str, ...]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.name} version {self.version}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scorer:
        """What `to_dict` gave."""
        return cls(**values | {"required": tuple(values["required"])})


def find(client: MlflowClient, project: Project, version: int | None, alias: str | None) -> ModelVersion:
    """The version of the project's model with this number or alias (champion without either); StepError if there is
    none."""
    if version is not None and alias is not None:
        raise StepError("give either --version or --alias", do="leave one of them out")
    known = client.search_model_versions(f"name = '{project.name}'", max_results=1000)
    wanted = alias or ALIAS_CHAMPION
    try:
        if not known:
            found = None
        elif version is not None:
            found = next((entry for entry in known if int(entry.version) == version), None)
        else:
            found = client.get_model_version_by_alias(project.name, wanted)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        found = None
    if found is None:
        versions = ", ".join(sorted((str(entry.version) for entry in known), key=int)) or "none yet"
        missing = f"version {version}" if version is not None else f"version with the alias {wanted}"
        raise StepError(f"{project.name} has no {missing}", where="MLflow", do=f"its versions: {versions}")
    return found


def fetch(version: ModelVersion, project: Project, scratch: Path) -> Scorer:
    """Download `version` to `scratch`/model, refuse it if it is not what was registered, and read its signature.

    Nothing of it is deserialised here; what does that verifies it once more.
    """
    title, digest = f"{project.name} version {version.version}", version.tags.get(DIGEST_TAG, "")
    gate = version.tags.get(GATE_TAG, "")
    if gate.startswith("refused"):
        say(f"  {title} did not pass its gate: {gate}")
    directory = model_store.download(f"models:/{project.name}/{version.version}", scratch / "download")
    directory.rename(scratch / "model")
    model_store.verify(scratch / "model", digest, title)
    features, required = _columns(scratch / "model", title)
    return Scorer(
        name=project.name,
        version=int(version.version),
        digest=digest,
        task=project.task,
        entity_key=project.data.entity_key,
        features=features,
        required=required,
    )


def _columns(directory: Path, where: str) -> tuple[dict[str, FeatureType], tuple[str, ...]]:
    """The columns that the model in `directory` takes, with their types, and those it needs in each row."""
    signature = Model.load(str(directory)).signature
    inputs = signature.inputs.inputs if signature is not None and signature.inputs is not None else []
    features: dict[str, FeatureType] = {}
    for column in inputs:
        kind = _KINDS.get(column.type) if isinstance(column.type, DataType) else None
        if kind is None or not column.name:
            raise StepError(
                f"its signature has a column that cannot be scored: {column}", where=where, do="train it with `train`"
            )
        features[column.name] = kind
    if not features:
        raise StepError("it has no signature, so its columns are not known", where=where, do="train it with `train`")
    return features, tuple(str(column.name) for column in inputs if column.required)
