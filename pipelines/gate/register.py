"""Step `register`: make a judged candidate a version of the project's model; its release begins if it passed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from contract import (
    DIGEST_TAG,
    ENTITY_KEY_TAG,
    EXAMPLE_OUTPUT_TAG,
    GATE_TAG,
    SIGNATURE_CHANGE_TAG,
    SNAPSHOT_TAG,
    artifact_digest,
)
from pipelines import tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.gate import card
from pipelines.gate.card import Facts
from pipelines.gate.evaluate import ALLOWED, REPORT
from pipelines.gate.runs import step_run
from pipelines.models import model_store
from pipelines.progress import say
from pipelines.project import Project
from pipelines.release.actions import PROMOTED_TAG, RELEASE_TAG
from pipelines.release.begin import begin

PASSED = "passed"
WAITING = "waiting"
COPIED_TAGS = (
    DIGEST_TAG,
    ENTITY_KEY_TAG,
    SNAPSHOT_TAG,
    GATE_TAG,
    EXAMPLE_OUTPUT_TAG,
    SIGNATURE_CHANGE_TAG,
    tracking.COMMIT_TAG,
)
"""What the version takes over from its run."""


def run(env: Environment, project: Project, run_id: str | None = None) -> dict[str, Any]:
    """Register the training run `run_id` (default: the newest); the same run always gives the same version.

    Returns `model`, `version`, `alias` (what its release gave it: "champion", "canary", "shadow", or None), `passed`,
    `gate`, `run_id` and `card` (its address).
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
        with step_run(client, env, project, "register", training):
            version = _register(client, env, project, training)
            alias = None
            if gate == PASSED:
                _check_rival(client, project, training, version)
                alias = begin(env, project, client, version.version)
    say(f"  {project.name} version {version.version}: {gate}" + (f", now {alias}" if alias else ""))
    return {
        "model": project.name,
        "version": int(version.version),
        "alias": alias,
        "passed": gate == PASSED,
        "gate": gate,
        "run_id": training.info.run_id,
        "card": _card_address(env, training),
    }


def _register(client: MlflowClient, env: Environment, project: Project, training: Run) -> ModelVersion:
    """The version of this run: verified, with its tags and its card as the gate left them. One that was promoted is
    left as it was then."""
    evaluation = mlflow.artifacts.load_dict(f"runs:/{training.info.run_id}/{REPORT}")
    tags = {tag: training.data.tags[tag] for tag in COPIED_TAGS if tag in training.data.tags}
    if evaluation["evidence"]["declared"]:
        tags[SIGNATURE_CHANGE_TAG] = ALLOWED
    version = _version_of(client, project, training)
    if version is None:
        version = _create_version(client, env, project, training, tags)
    _verify(version)
    if PROMOTED_TAG not in version.tags:
        for tag, value in tags.items():
            if version.tags.get(tag) != value:
                client.set_model_version_tag(project.name, version.version, tag, value)
        facts = Facts(
            project=project,
            version=int(version.version),
            training=training,
            evaluation=evaluation,
            registered_by=version.tags.get(tracking.ACTOR_TAG, env.actor),
        )
        client.log_text(training.info.run_id, card.render(facts), card.FILE_NAME)
        text = card.description(facts, _card_address(env, training))
        client.update_model_version(project.name, version.version, text)
    return version


def _version_of(client: MlflowClient, project: Project, training: Run) -> ModelVersion | None:
    """The version that was made of this run before, if any."""
    found = client.search_model_versions(f"name = '{project.name}' and run_id = '{training.info.run_id}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def _create_version(
    client: MlflowClient, env: Environment, project: Project, training: Run, tags: dict[str, str]
) -> ModelVersion:
    try:
        client.create_registered_model(
            project.name, tags={tracking.PROJECT_TAG: project.name}, description=project.description
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id = training.data.tags[tracking.MODEL_TAG]
    return client.create_model_version(
        project.name,
        source=f"models:/{model_id}",
        run_id=training.info.run_id,
        model_id=model_id,
        await_creation_for=0,
        tags=tags | {tracking.ACTOR_TAG: env.actor},
    )


def _card_address(env: Environment, training: Run) -> str:
    info = training.info
    return f"{env.mlflow_pages}/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/{card.FILE_NAME}"


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


def _check_rival(client: MlflowClient, project: Project, training: Run, version: ModelVersion) -> None:
    """Refuse a verdict that was reached against another champion than the present one, unless the release of the
    version has begun already: then a repeated call changes nothing."""
    if not version.tags.get(RELEASE_TAG, WAITING).startswith(WAITING):
        return
    current = tracking.champion(client, project.name)
    if current is not None and current.version == version.version:
        return
    judged_against = training.data.tags.get(tracking.RIVAL_TAG)
    now = str(current.version) if current else "none"
    if judged_against != now:
        raise StepError(
            f"judged against champion {judged_against}, but the champion is now {now}",
            where=f"run {training.info.run_id}",
            do=f"judge it again: `evaluate {project.name} --run-id {training.info.run_id}`, then register",
        )
