"""The dbt models of a project as tasks: one `dbt build` runs them all, and each task follows its own model."""

import os
from pathlib import Path

from airflow.sdk import DAG
from cosmos import DbtTaskGroup, ExecutionConfig, ExecutionMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import InvocationMode, LoadMode, TestBehavior

from dags.steps import IDENTITY
from pipelines.errors import StepError

PROFILE = "warehouse"
GROUP_ID = "dbt"


def models(repo: Path, select: str, dag: DAG) -> DbtTaskGroup:
    """The task group of the models that `select` (dbt's syntax) names, each followed by its tests.

    Nothing here is tried again: dbt has run as far as it could, and a test that failed will fail again.
    """
    manifest = Path(os.environ["STEP_STATE_DIR"]) / "dbt" / "manifest.json"
    if not manifest.is_file():
        raise StepError("dbt's manifest is missing", where=str(manifest), do="run `platform up`, which makes it")
    return DbtTaskGroup(
        group_id=GROUP_ID,
        dag=dag,
        project_config=ProjectConfig(
            dbt_project_path=repo / "dbt_project", manifest_path=manifest, install_dbt_deps=False
        ),
        profile_config=ProfileConfig(
            profile_name=PROFILE, target_name=PROFILE, profiles_yml_filepath=repo / "dbt_project" / "profiles.yml"
        ),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.WATCHER,
            invocation_mode=InvocationMode.SUBPROCESS,
            dbt_executable_path=f"{os.environ['ENVS_DIR']}/pipelines/bin/dbt",
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            select=select.split(),
            test_behavior=TestBehavior.AFTER_EACH,
            emit_datasets=False,
        ),
        operator_args={
            "append_env": True,
            # dbt records its run in the warehouse, as one of this pipeline run (macro record_run).
            "env": IDENTITY,
            "retries": 0,
            "poke_interval": 2,
        },
    )
