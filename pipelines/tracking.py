"""MLflow as the steps use it: one client, its failures as messages, runs and versions found by what they mean."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from contract import ALIAS_CHAMPION, SNAPSHOT_TAG
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage import store
from pipelines.project import Project

PROJECT_TAG = "platform.project"
STEP_TAG = "platform.step"
ACTOR_TAG = "platform.actor"
COMMIT_TAG = "platform.commit"
SOURCE_TAG = "platform.source_digest"
MODEL_TAG = "platform.model_id"
ERROR_TAG = "platform.error"
RIVAL_TAG = "platform.gate_champion"
TRAINING_TAG = "platform.training_run"
VERSION_TAG = "platform.model_version"
PIPELINE_RUN_TAG = "platform.pipeline_run"
STARTED_FROM_TAG = "platform.started_from"
PIPELINE_STEP = "pipeline"

CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def connect(env: Environment) -> MlflowClient:
    """A client of the tracking server; its credentials and limits go to where MLflow reads them."""
    # It warns of what is meant: integers in a signature, requirements without pip.
    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer", category=UserWarning)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    os.environ.update(
        MLFLOW_TRACKING_URI=env.mlflow_uri,
        MLFLOW_TRACKING_USERNAME=env.mlflow_username,
        MLFLOW_TRACKING_PASSWORD=env.mlflow_password,
        **CLIENT_SETTINGS,
    )
    return MlflowClient(tracking_uri=env.mlflow_uri, registry_uri=env.mlflow_uri)


@contextmanager
def mlflow_errors(env: Environment) -> Iterator[None]:
    """Turn a refusal or silence of the tracking server inside the block into a StepError."""
    try:
        yield
    except MlflowException as error:
        raise StepError(
            f"{error.error_code}: {error.message}".splitlines()[0],
            where=f"MLflow at {env.mlflow_uri}",
            do="is it up (`platform status`)? may this account do that (`platform credentials mlflow`)?",
        ) from error


def experiment_id(client: MlflowClient, name: str) -> str:
    """The id of the experiment `name`, made if it is not there."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise StepError(f"the experiment {name!r} was deleted", where="MLflow", do="restore it in MLflow, then retry")
    return str(found.experiment_id)


@contextmanager
def open_run(
    client: MlflowClient, experiment: str, name: str, tags: dict[str, str], parent: str | None = None
) -> Iterator[str]:
    """Make a run in the experiment with the id `experiment`; it ends as the block does, with the reason of a failure.

    With `parent`, the id of a run of the same experiment, MLflow shows it below that one. Yields the run's id.
    """
    tags = tags | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    try:
        yield run_id
    except BaseException as error:
        client.set_tag(run_id, ERROR_TAG, str(error)[:500])
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
        raise
    client.set_terminated(run_id)


def pipeline_run(client: MlflowClient, env: Environment, project: Project) -> str:
    """The id of the MLflow run that stands for `env.pipeline_run`, made if it is not there: the parent of the runs of
    its steps. It says which champion the pipeline run started from, and runs until the recorder ends it."""
    experiment = experiment_id(client, project.name)
    found = client.search_runs(
        [experiment],
        f"tags.`{STEP_TAG}` = '{PIPELINE_STEP}' AND tags.`{PIPELINE_RUN_TAG}` = '{env.pipeline_run}'",
        ViewType.ACTIVE_ONLY,
        max_results=1,
    )
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, RunStatus.to_string(RunStatus.RUNNING))
    else:
        run_id = _make_pipeline_run(client, env, project, experiment)
    return run_id


def _make_pipeline_run(client: MlflowClient, env: Environment, project: Project, experiment: str) -> str:
    current = champion(client, project.name)
    version = int(current.version) if current else None
    tags = {
        PROJECT_TAG: project.name,
        STEP_TAG: PIPELINE_STEP,
        PIPELINE_RUN_TAG: env.pipeline_run,
        ACTOR_TAG: env.actor,
        COMMIT_TAG: env.commit,
        STARTED_FROM_TAG: str(version or "none"),
        "mlflow.user": env.actor,
    }
    run_id = str(client.create_run(experiment, tags=tags, run_name=f"pipeline {env.pipeline_run}"[:250]).info.run_id)
    store.attach(env, run_id, version)
    return run_id


def end_pipeline_run(env: Environment, run_id: str, *, failed: bool) -> None:
    """End the MLflow run of a pipeline run as its steps did; what a killed step left open below it ends as killed."""
    client = connect(env)
    status = RunStatus.FAILED if failed else RunStatus.FINISHED
    client.set_terminated(run_id, RunStatus.to_string(status))
    if failed:
        experiment = client.get_run(run_id).info.experiment_id
        below = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}' AND attributes.status = 'RUNNING'"
        for child in client.search_runs([experiment], below):
            client.set_terminated(child.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def training_run(client: MlflowClient, project: str, run_id: str | None) -> Run:
    """The training run `run_id` of `project`, or its newest finished one; StepError if it is none."""
    if run_id is None:
        found = client.search_runs(
            [experiment_id(client, project)],
            f"tags.`{STEP_TAG}` = 'train' AND attributes.status = 'FINISHED'",
            ViewType.ACTIVE_ONLY,
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if not found:
            raise StepError("there is no finished training run", where=project, do=f"train first: `train {project}`")
        return found[0]
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        # forbidden is what a server with authentication answers for a run that is not there
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"}:
            raise
        raise StepError(f"there is no run {run_id}", where="MLflow", do="look in MLflow for its id") from error
    tags = run.data.tags
    if tags.get(PROJECT_TAG) != project or tags.get(STEP_TAG) != "train" or run.info.status != "FINISHED":
        raise StepError(
            f"run {run_id} is not a finished training run of {project}",
            where="MLflow",
            do="give the id that `train` printed, or leave it out for the newest",
        )
    return run


def same_training(client: MlflowClient, project: Project, snapshot: str, commit: str) -> Run | None:
    """The newest finished training run on this snapshot by the same code, if there is one: the same files of the
    project, and the same commit of everything else."""
    found = client.search_runs(
        [experiment_id(client, project.name)],
        f"tags.`{STEP_TAG}` = 'train' AND attributes.status = 'FINISHED' AND tags.`{SNAPSHOT_TAG}` = '{snapshot}'"
        f" AND tags.`{COMMIT_TAG}` = '{commit}' AND tags.`{SOURCE_TAG}` = '{project.source_digest}'",
        ViewType.ACTIVE_ONLY,
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def champion(client: MlflowClient, model: str) -> ModelVersion | None:
    """The version of `model` that has the alias champion, if there is one."""
    # With authentication on, asking for what is not there is refused as forbidden; a search shows what there is.
    if not client.search_registered_models(filter_string=f"name = '{model}'"):
        return None
    try:
        return client.get_model_version_by_alias(model, ALIAS_CHAMPION)
    except MlflowException as error:
        # An unknown alias of a known model is reported as an invalid parameter.
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
