from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from contract import sources_digest
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.warehouse import connect


def test_variables_are_typed(env: Environment, tmp_path: Path) -> None:
    assert env.repo == tmp_path
    assert env.landing_bucket == "landing"
    assert env.pushgateway_url == ""


def test_secrets_do_not_show(env: Environment) -> None:
    assert "hidden" not in repr(env)


def test_every_missing_variable_is_named(variables: dict[str, str]) -> None:
    variables["WAREHOUSE_URL"] = ""
    del variables["SERVING_API_KEY"]
    with pytest.raises(StepError, match="not set: WAREHOUSE_URL, SERVING_API_KEY"):
        Environment.from_env(variables)


def test_the_actor_is_who_started_the_step(env: Environment) -> None:
    assert env.actor.endswith("@shell")
    assert replace(env, declared_actor="airflow:shop__train/run1").actor == "airflow:shop__train/run1"


def test_a_step_belongs_to_the_run_that_was_declared_or_of_airflow_or_of_its_process(env: Environment) -> None:
    assert env.pipeline_run.startswith(f"{env.actor}/")
    assert replace(env).pipeline_run == env.pipeline_run
    in_airflow = replace(env, declared_actor="airflow:shop__train/run1")
    assert (in_airflow.pipeline_run, in_airflow.trigger) == ("airflow:shop__train/run1", "airflow")
    declared = replace(env, declared_pipeline_run="ci/77")
    assert (declared.pipeline_run, declared.trigger) == ("ci/77", "shell")


def test_the_commit_tells_of_changed_files(env: Environment, tmp_path: Path) -> None:
    assert env.commit == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    clean = replace(env).commit
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert replace(env).commit == f"{clean}-dirty"
    assert replace(env, declared_commit="abc").commit == "abc"


def test_in_a_container_the_commit_is_what_the_machine_said_unless_files_have_changed_since(
    env: Environment, tmp_path: Path
) -> None:
    repo, state = tmp_path / "repo", tmp_path / "state"
    code = repo / "projects" / "shop" / "train.py"
    code.parent.mkdir(parents=True)
    code.write_text("1")

    def commit() -> str:
        return replace(env, repo=repo, checkout_state=str(state)).commit

    assert commit() == "unknown"
    state.write_text(f"abc {sources_digest(repo)}\n")
    assert commit() == "abc"
    (repo / "projects" / "shop" / "__pycache__").mkdir()
    (repo / "projects" / "shop" / "__pycache__" / "train.pyc").write_text("made by a tool")
    assert commit() == "abc"
    code.write_text("2")
    assert commit() == "abc-dirty"
    state.write_text("abc-dirty 0\n")
    assert commit() == "abc-dirty"
    state.write_text("unknown 0\n")
    assert commit() == "unknown"
    assert replace(env, repo=repo, checkout_state=str(state), declared_commit="def").commit == "def"


def test_a_database_that_is_down_is_told_without_its_password(env: Environment) -> None:
    with pytest.raises(StepError) as refusal:
        connect(env)
    assert "PostgreSQL 127.0.0.1:9/warehouse as pipelines" in str(refusal.value)
    assert "hidden" not in str(refusal.value)
