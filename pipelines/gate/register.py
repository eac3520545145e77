"""Step `register`: make a judged candidate a version of the project's model; it becomes champion if it passed."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from contract import (
    ALIAS_CHAMPION,
    DIGEST_TAG,
    ENTITY_KEY_TAG,
    EXAMPLE_OUTPUT_TAG,
    GATE_TAG,
    SNAPSHOT_TAG,
    artifact_digest,
)
from pipelines import tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.progress import say
from pipelines.project import Project

PROMOTED_TAG = "platform.promoted"
PASSED = "passed"
COPIED_TAGS = (DIGEST_TAG, ENTITY_KEY_TAG, SNAPSHOT_TAG, GATE_TAG, EXAMPLE_OUTPUT_TAG, tracking.COMMIT_TAG)
"""What the version takes over from its run."""


def run(env: Environment, project: Project, run_id: str | None = None) -> dict[str, Any]:
    """Register the training run `run_id` (default: the newest); the same run always gives the same version.

    Returns `model`, `version`, `alias` ("champion" or None), `passed`, `gate` and `run_id`.
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        training = tracking.training_run(client, project.name, run_id)
        gate = training.data.tags.get(GATE_TAG)
        if gate is None:
            raise StepError(
                "this candidate was not judged yet",
                where=f"run {training.info.run_id}",
                do=f"judge it first: `evaluate {project.name} --run-id {training.info.run_id}`",
            )
        version = _version_of(client, project, training)
        if version is None:
            version = _create_version(client, env, project, training)
        elif version.tags.get(GATE_TAG) != gate and PROMOTED_TAG not in version.tags:
            client.set_model_version_tag(project.name, version.version, GATE_TAG, gate)
        _verify(version)
        alias = _promote(client, env, project, training, version) if gate == PASSED else None
    say(f"  {project.name} version {version.version}: {gate}" + (", now champion" if alias else ""))
    return {
        "model": project.name,
        "version": int(version.version),
        "alias": alias,
        "passed": gate == PASSED,
        "gate": gate,
        "run_id": training.info.run_id,
    }


def _version_of(client: MlflowClient, project: Project, training: Run) -> ModelVersion | None:
    """The version that was made of this run before, if any."""
    found = client.search_model_versions(f"name = '{project.name}' and run_id = '{training.info.run_id}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def _create_version(client: MlflowClient, env: Environment, project: Project, training: Run) -> ModelVersion:
    try:
        client.create_registered_model(
            project.name, tags={tracking.PROJECT_TAG: project.name}, description=project.description
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags, metric = training.data.tags, project.evaluation.metric
    value = training.data.metrics[f"test_{metric}"]
    parameters = training.data.params
    model_id = tags[tracking.MODEL_TAG]
    return client.create_model_version(
        project.name,
        source=f"models:/{model_id}",
        run_id=training.info.run_id,
        model_id=model_id,
        await_creation_for=0,
        tags={tag: tags[tag] for tag in COPIED_TAGS if tag in tags} | {tracking.ACTOR_TAG: env.actor},
        description=(
            f"{project.description}\n\nTrained on {parameters['train_from'][:10]} to {parameters['train_to'][:10]}; "
            f"{metric} {value:.4f} on {parameters['test_from'][:10]} to {parameters['test_to'][:10]}. "
            f"Gate: {tags[GATE_TAG]}."
        ),
    )


def _verify(version: ModelVersion) -> None:
    """Refuse a version whose download is not what the training run logged: nobody could load it."""
    with tempfile.TemporaryDirectory() as scratch:
        found = artifact_digest(model_store.download(f"models:/{version.name}/{version.version}", Path(scratch)))
    if found != version.tags[DIGEST_TAG]:
        raise StepError(
            f"the artifact changed after training: digest {found}, logged was {version.tags[DIGEST_TAG]}",
            where=f"{version.name} version {version.version}",
            do="do not use this version; train again",
        )


def _promote(
    client: MlflowClient, env: Environment, project: Project, training: Run, version: ModelVersion
) -> str | None:
    """Move the alias champion to `version`, once: a repeated call must not undo a later release or a rollback."""
    current = tracking.champion(client, project.name)
    if current is None or current.version != version.version:
        if PROMOTED_TAG in version.tags:
            return None
        _check_rival(project, training, current)
        client.set_registered_model_alias(project.name, ALIAS_CHAMPION, version.version)
    if PROMOTED_TAG not in version.tags:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        client.set_model_version_tag(project.name, version.version, PROMOTED_TAG, f"{when} by {env.actor}")
    return ALIAS_CHAMPION


def _check_rival(project: Project, training: Run, current: ModelVersion | None) -> None:
    """Refuse a verdict that was reached against another champion than the present one."""
    judged_against = training.data.tags.get(tracking.RIVAL_TAG)
    now = str(current.version) if current else "none"
    if judged_against != now:
        raise StepError(
            f"judged against champion {judged_against}, but the champion is now {now}",
            where=f"run {training.info.run_id}",
            do=f"judge it again: `evaluate {project.name} --run-id {training.info.run_id}`, then register",
        )
