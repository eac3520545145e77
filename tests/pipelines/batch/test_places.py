"""What --from and --to may be, and which machine Spark needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.batch import spark
from pipelines.batch.places import File, Table, place
from pipelines.environment import Environment
from pipelines.errors import StepError


def test_a_place_is_a_table_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("marts.orders", "--from") == Table("marts.orders")
    assert place("scores.csv", "--to") == File(tmp_path / "scores.csv")
    assert place("/data/new.parquet", "--to") == File(Path("/data/new.parquet"))


@pytest.mark.parametrize(
    "text", ["orders", "Marts.orders", "a.b.c", "new/scores.xlsx", "marts.orders; DROP TABLE x", ""]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(StepError, match="neither a table nor a file") as refusal:
        place(text, "--from")
    assert refusal.value.where == "--from"


@pytest.fixture
def installed(env: Environment) -> Environment:
    """Spark's environment is there."""
    (env.envs_dir / "spark").mkdir(parents=True)
    (env.envs_dir / "spark" / ".stamp.json").touch()
    return env


def java(directory: Path, told: str) -> Path:
    program = directory / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    program.chmod(0o755)
    return program


def test_spark_must_be_installed(env: Environment) -> None:
    with pytest.raises(StepError, match="Spark is not installed") as refusal:
        spark.check(env)
    assert "platform install spark" in refusal.value.do


def test_spark_needs_java(installed: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="Java 17 or newer, and there is none") as refusal:
        spark.check(installed)
    assert "default-jre-headless" in refusal.value.do


@pytest.mark.parametrize("told", ['java version "1.8.0_402"', 'openjdk version "11.0.2" 2019', "who knows"])
def test_an_old_java_is_told(
    installed: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    program = java(tmp_path, told)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StepError, match=f"the one at {program} is"):
        spark.check(installed)


def test_a_new_java_will_do(installed: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java(tmp_path, 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    spark.check(installed)
