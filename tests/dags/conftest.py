"""A checkout of its own for each test: real projects, and a small dbt manifest."""

import json
import os
import shutil
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Airflow reads its home when it is first imported: keep it out of the user's."""
    home = tmp_path_factory.mktemp("airflow")
    os.environ["AIRFLOW_HOME"] = str(home)
    os.environ["AIRFLOW__COSMOS__CACHE_DIR"] = str(home / "cosmos")
    os.environ["AIRFLOW__COSMOS__ENABLE_TELEMETRY"] = "False"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the sample project, its dbt project, and a manifest of one source, two models and a test."""
    repo = tmp_path / "repo"
    project = repo / "projects" / "flight_delay"
    project.mkdir(parents=True)
    shutil.copy(REPO / "projects" / "flight_delay" / "project.yaml", project)
    (repo / "dbt_project" / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(REPO / "dbt_project" / name, repo / "dbt_project")
    state = tmp_path / "steps"
    (state / "dbt").mkdir(parents=True)
    (state / "dbt" / "manifest.json").write_text(json.dumps(manifest()))
    monkeypatch.setenv("PLATFORM_REPO", str(repo))
    monkeypatch.setenv("STEP_STATE_DIR", str(state))
    dbt = tmp_path / "envs" / "pipelines" / "bin" / "dbt"
    dbt.parent.mkdir(parents=True)
    dbt.touch(mode=0o755)
    monkeypatch.setenv("ENVS_DIR", str(tmp_path / "envs"))
    return repo


def manifest() -> dict:
    """What dbt would write for stg_flights → flight_delay_features, the latter tested."""

    def node(unique_id: str, path: str, depends_on: list[str]) -> dict:
        kind, package, name = unique_id.split(".")
        return {
            "unique_id": unique_id,
            "resource_type": kind,
            "package_name": package,
            "name": name,
            "original_file_path": path,
            "depends_on": {"nodes": depends_on},
            "tags": [],
            "config": {"materialized": "table", "enabled": True},
            "fqn": [package, name],
        }

    models = "models/flight_delay"
    nodes = [
        node("model.platform.stg_flights", f"{models}/staging/stg_flights.sql", []),
        node("model.platform.unrelated", "models/other/unrelated.sql", []),
        node(
            "model.platform.flight_delay_features",
            f"{models}/marts/flight_delay_features.sql",
            ["model.platform.stg_flights"],
        ),
        node("test.platform.unique_flight", f"{models}/marts/marts.yml", ["model.platform.flight_delay_features"]),
    ]
    return {"nodes": {item["unique_id"]: item for item in nodes}, "sources": {}, "exposures": {}}
