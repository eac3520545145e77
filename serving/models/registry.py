"""MLflow's registry as the model server sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import mlflow
from mlflow import MlflowClient

from serving.errors import VersionRefused

PROXIED = "mlflow-artifacts:"
_PAGE = 1000


@dataclass(frozen=True)
class Version:
    """A registered version, before anything of it is loaded."""

    name: str
    number: int
    run_id: str
    tags: Mapping[str, str]
    artifact_uri: str
    """Where the registry says that its artifact is; `Registry.download` knows how to get it."""


class Registry(Protocol):
    """Where versions come from. Every call may raise whatever the transport raises."""

    def aliases(self) -> dict[str, dict[str, int]]:
        """Return the version behind each alias of each registered model, models without an alias included."""

    def version(self, name: str, number: int) -> Version:
        """Return one version."""

    def download(self, version: Version, parent: Path) -> Path:
        """Write the version's model directory to `parent`, an empty directory, or below it; return where it is."""

    def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        """Set a tag of a version."""

    def delete_tag(self, name: str, number: int, key: str) -> None:
        """Take a tag away from a version, if it has it."""


class MlflowRegistry:
    """The registry over MLflow's REST API. User and password come from MLFLOW_TRACKING_USERNAME and _PASSWORD."""

    def __init__(self, tracking_uri: str) -> None:
        """Talk to the MLflow server at `tracking_uri`."""
        mlflow.set_tracking_uri(tracking_uri)
        self._client = MlflowClient(tracking_uri, tracking_uri)

    def aliases(self) -> dict[str, dict[str, int]]:
        """See `Registry.aliases`: one call to MLflow for each thousand models."""
        found: dict[str, dict[str, int]] = {}
        token: str | None = None
        while True:
            page = self._client.search_registered_models(max_results=_PAGE, page_token=token)
            for model in page:
                found[model.name] = {alias: int(number) for alias, number in model.aliases.items()}
            token = page.token
            if not token:
                return found

    def version(self, name: str, number: int) -> Version:
        """See `Registry.version`: one call, since versions are looked at with every poll."""
        version = self._client.get_model_version(name, str(number))
        return Version(name, number, version.run_id or "", dict(version.tags), str(version.source))

    def download(self, version: Version, parent: Path) -> Path:
        """See `Registry.download`.

        Raises:
            VersionRefused: the artifact is not one that MLflow proxies; this server holds no keys of other stores.
        """
        uri = self._client.get_model_version_download_uri(version.name, str(version.number))
        if not uri.startswith(PROXIED):
            raise VersionRefused(
                f"its artifact is not in MLflow's own store but in {uri}; log the model to this MLflow server"
            )
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(parent)))

    def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        """See `Registry.set_tag`."""
        self._client.set_model_version_tag(name, str(number), key, value)

    def delete_tag(self, name: str, number: int, key: str) -> None:
        """See `Registry.delete_tag`."""
        self._client.delete_model_version_tag(name, str(number), key)
