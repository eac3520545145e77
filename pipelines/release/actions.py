"""What a release does to the registry. Every function may be repeated: what is there already stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from contract import ALIAS_CANARY, ALIAS_CHAMPION, ALIAS_SHADOW, CANARY_SHARE_TAG
from pipelines import tracking
from pipelines.errors import StepError
from pipelines.release.plan import Placement
from pipelines.release.store import Row

PROMOTED_TAG = "platform.promoted"
"""When the version first became champion, and by whom."""
PREVIOUS_TAG = "platform.previous_champion"
"""The version that was champion before this one: where a rollback goes."""
RELEASE_TAG = "platform.release"
"""How the release of the version stands, in words."""
WATCHED = (ALIAS_CANARY, ALIAS_SHADOW)
TAG_LENGTH = 500


def aliases(client: MlflowClient, project: str) -> dict[str, int]:
    """The version behind each alias of the project's model; empty if the model is not there."""
    # With authentication on, asking for what is not there is refused as forbidden; a search shows what there is.
    found = client.search_registered_models(filter_string=f"name = '{project}'")
    given: Mapping[str, str] = found[0].aliases if found else {}
    return {alias: int(version) for alias, version in given.items()}


def permit(client: MlflowClient, project: str, account: str) -> None:
    """Pass if the account may change the project's model; StepError if not, before anything is changed.

    It is asked by writing a tag that the model has already: MLflow wants the same permission for it as for an alias.
    """
    try:
        client.set_registered_model_tag(project, tracking.PROJECT_TAG, project)
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        raise StepError(
            f"the account {account} may not change what this model serves",
            where=f"MLflow, model {project}",
            do="ask for the permission EDIT on the model, or let somebody do it who has it",
        ) from error


def place(client: MlflowClient, row: Row, to: Placement) -> None:
    """Bring the candidate to its step: the alias and the share of the traffic, and no other alias of a release."""
    found = aliases(client, row.project)
    version = str(row.version)
    if to.share is not None:
        client.set_model_version_tag(row.project, version, CANARY_SHARE_TAG, str(to.share))
    if found.get(to.alias) != row.version:
        client.set_registered_model_alias(row.project, to.alias, version)
    for alias in WATCHED:
        if alias != to.alias and found.get(alias) == row.version:
            client.delete_registered_model_alias(row.project, alias)
    share = f" with {to.share} % of the requests" if to.share is not None else ""
    client.set_model_version_tag(row.project, version, RELEASE_TAG, f"running: {to.alias}{share}")
    _read_back(client, row, to.alias)


def withdraw(client: MlflowClient, row: Row, outcome: str) -> None:
    """Take the candidate out of the traffic, and say on it how its release ended."""
    found = aliases(client, row.project)
    version = str(row.version)
    for alias in WATCHED:
        if found.get(alias) == row.version:
            client.delete_registered_model_alias(row.project, alias)
    tags = _tags(client, row)
    if tags is None:
        return
    if CANARY_SHARE_TAG in tags:
        client.delete_model_version_tag(row.project, version, CANARY_SHARE_TAG)
    client.set_model_version_tag(row.project, version, RELEASE_TAG, outcome[:TAG_LENGTH])


def crown(client: MlflowClient, row: Row, who: str) -> None:
    """Make the version of the release champion, and remember the one before it."""
    version = str(row.version)
    if row.champion is not None and row.strategy != "rollback":
        client.set_model_version_tag(row.project, version, PREVIOUS_TAG, str(row.champion))
    if aliases(client, row.project).get(ALIAS_CHAMPION) != row.version:
        client.set_registered_model_alias(row.project, ALIAS_CHAMPION, version)
    _read_back(client, row, ALIAS_CHAMPION)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    if PROMOTED_TAG not in (_tags(client, row) or {}):
        client.set_model_version_tag(row.project, version, PROMOTED_TAG, f"{when} by {who}")
    withdraw(client, row, f"champion since {when}: {row.reason}")
    if row.strategy == "rollback" and row.champion is not None:
        text = f"rolled back to version {row.version}: {row.reason}"
        client.set_model_version_tag(row.project, str(row.champion), RELEASE_TAG, text[:TAG_LENGTH])


def is_there(client: MlflowClient, row: Row) -> bool:
    """Whether the version of the release is still registered."""
    return _tags(client, row) is not None


def _tags(client: MlflowClient, row: Row) -> Mapping[str, str] | None:
    """The tags of the version of the release; None if somebody has deleted it."""
    found = client.search_model_versions(f"name = '{row.project}' and version_number = {row.version}")
    return found[0].tags if found else None


def _read_back(client: MlflowClient, row: Row, alias: str) -> None:
    found = aliases(client, row.project).get(alias)
    if found != row.version:
        raise StepError(
            f"the alias {alias} was set to version {row.version}, but the registry has it on {found or 'none'}",
            where=f"MLflow, model {row.project}",
            do="somebody else moves it at the same time: see who (`platform models show`), then start this again",
        )
