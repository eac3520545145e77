"""`platform check`: everything of a project that can be judged without a service, in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.authoring import CODE, features
from pipelines.authoring.dbt_offline import Offline, ask_dbt
from pipelines.authoring.entry_point import entry_point_problems
from pipelines.errors import StepError
from pipelines.ingestion.connections import load_connection
from pipelines.project import Project, load_project, project_names

DAG_SECONDS = 120
CHECKOUT_PARTS = ("dbt_project", "airbyte")
MANIFEST = "steps/dbt/manifest.json"


@dataclass
class Findings:
    """What was looked at in one project, and what is wrong: part → problems; `notes` say what a part covers."""

    project: str
    parts: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.parts.values())

    def add(self, part: str, problems: list[str], note: str = "") -> None:
        """Note the outcome of one part."""
        self.parts[part] = problems
        self.notes[part] = note


class _AnyValue(Mapping[str, str]):
    """Stands for variables that are not set offline: each has a value, which is a number too."""

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name, "1") or "1"

    def __iter__(self) -> Any:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def run(repo: Path, envs: Path, name: str | None = None) -> list[Findings]:
    """Check the project `name`, or all of the checkout `repo`; `envs` holds the components' environments.

    StepError if there is no such project. Nothing is left on disk.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as scratch:
        return check_in(Path(scratch), repo, envs, name)


def check_in(scratch: Path, repo: Path, envs: Path, name: str | None) -> list[Findings]:
    """The same, with what dbt and Airflow write below the directory `scratch`: dbt's manifest is `MANIFEST` there."""
    names = [name] if name else project_names(repo)
    found = {item: Findings(item) for item in names}
    projects: dict[str, Project] = {}
    for item, findings in found.items():
        try:
            projects[item] = load_project(repo, item)
        except StepError as error:
            if not (repo / "projects" / item).is_dir():
                raise
            findings.add("declaration", [str(error)])
        else:
            findings.add("declaration", [], f"{projects[item].task} of {len(projects[item].data.features)} features")
    selections = sorted({project.data.dbt_select for project in projects.values() if project.data.dbt_select})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_dbt, repo, (scratch / MANIFEST).parent, selections)
        for item, project in projects.items():
            found[item].add("connections", _connection_problems(repo, project), ", ".join(project.data.connections))
            found[item].add("entry point", entry_point_problems(project), project.training.entry_point)
        offline = asked.result()
    _check_models(scratch, offline, projects, found)
    _check_dags(repo, envs, scratch, projects, found)
    return list(found.values())


def _connection_problems(repo: Path, project: Project) -> list[str]:
    def load(name: str) -> Callable[[], object]:
        return lambda: load_connection(repo, name, _AnyValue())

    return [text for name in project.data.connections for text in _raised(load(name))]


def _raised(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except StepError as error:
        return [str(error)]
    return []


def _check_models(scratch: Path, offline: Offline, projects: dict[str, Project], found: dict[str, Findings]) -> None:
    """SQL and the mart's contract, as dbt tells them."""
    if offline.error:
        for item in projects:
            found[item].add("SQL", [f"dbt: {offline.error}"])
        return
    manifest = json.loads((scratch / MANIFEST).read_text(encoding="utf-8"))
    for item, project in projects.items():
        select = project.data.dbt_select
        if select is None:
            found[item].add("SQL", [], "no dbt_select: the table is filled by somebody else")
            continue
        models = offline.selections.get(select, [])
        if not models:
            found[item].add("SQL", [f"data.dbt_select: {select!r} names no model of dbt_project/models"])
            continue
        wrong = [offline.errors[key] for key in models if key in offline.errors]
        wrong += [
            text for key in models if (text := syntax_problem(manifest["nodes"][key], offline.compiled.get(key, "")))
        ]
        found[item].add("SQL", wrong, f"{len(models)} dbt models")
        found[item].add("features", features.problems(project, manifest, models), f"contract of {project.data.table}")


def syntax_problem(node: dict[str, Any], code: str) -> str:
    """What DuckDB's parser, which reads PostgreSQL's grammar but for rare operators, says against the model's SQL."""
    if not code or node["config"].get("meta", {}).get("check_syntax") is False:
        return ""
    try:
        duckdb.extract_statements(code)
    except duckdb.Error as error:
        return (
            f"{node['original_file_path']}: {str(error).splitlines()[0]} "
            "(if PostgreSQL takes it: `meta: {check_syntax: false}` on the model)"
        )
    return ""


def _check_dags(
    repo: Path, envs: Path, scratch: Path, projects: dict[str, Project], found: dict[str, Findings]
) -> None:
    """The DAGs, built in Airflow's environment from a checkout that holds one project only."""
    python = envs / "airflow/bin/python"
    ready = [item for item in projects if not found[item].parts.get("SQL")]
    if not ready:
        return
    if not python.is_file():
        for item in ready:
            found[item].add("DAGs", ["the environment airflow is not installed: `platform install`"])
        return
    checkouts = {item: lone_checkout(repo, scratch / item, item) for item in ready}
    done = subprocess.run(
        [str(python), "-m", "pipelines.authoring.import_dags", *map(str, checkouts.values())],
        env=os.environ | _airflow_variables(envs, scratch),
        capture_output=True,
        text=True,
        timeout=DAG_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        for item in ready:
            found[item].add("DAGs", [f"Airflow cannot import them: {said}"])
        return
    answer = json.loads(done.stdout.splitlines()[-1])
    for item, checkout in checkouts.items():
        made = answer[str(checkout)]
        found[item].add("DAGs", made["problems"], ", ".join(made["dags"]))


def lone_checkout(repo: Path, directory: Path, name: str) -> Path:
    """A checkout in `directory` with the project `name` only, by links into `repo`."""
    (directory / "projects").mkdir(parents=True)
    (directory / "projects" / name).symlink_to(repo / "projects" / name)
    for part in CHECKOUT_PARTS:
        (directory / part).symlink_to(repo / part)
    return directory


def _airflow_variables(envs: Path, scratch: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(CODE),
        "ENVS_DIR": str(envs),
        "STEP_STATE_DIR": str(scratch / "steps"),
        "AIRFLOW_HOME": str(scratch / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{scratch}/airflow.db",
        "AIRFLOW__COSMOS__CACHE_DIR": str(scratch / "cosmos"),
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
