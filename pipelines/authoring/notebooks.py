"""The notebooks that a project ships: committed without output, and run from the first cell to the last."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.authoring.process import run_whole
from pipelines.authoring.scratch import Scratch
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project

ENVIRONMENT = "notebooks"
CELL_SECONDS = 600


def of(project: Project) -> list[Path]:
    """The notebooks of the project, sorted."""
    return sorted((project.directory / "notebooks").glob("*.ipynb"))


def run(env: Environment, project: Project, scratch: Scratch, variables: Mapping[str, str]) -> str:
    """Run each notebook with the parameter `project`, which is the name of the scratch's project.

    StepError if one holds output, or if a cell fails.
    """
    programs = env.envs_dir / ENVIRONMENT / "bin"
    if not (programs / "papermill").is_file():
        raise StepError(
            "the environment that runs notebooks is not installed",
            where=str(programs.parent),
            do=f"`platform install {ENVIRONMENT}`",
        )
    found = of(project)
    _refuse_output(programs, found, project)
    for notebook in found:
        copy = scratch.directory / "state" / notebook.name
        command = [str(programs / "papermill"), str(notebook), str(copy), "--parameters", "project", scratch.name]
        command += ["--kernel", "python3", "--execution-timeout", str(CELL_SECONDS), "--no-progress-bar"]
        directory = str(scratch.repo / "projects" / scratch.name / "notebooks")
        code, _, errors = run_whole(
            command, {**variables, "PATH": f"{programs}:{variables.get('PATH', '')}"}, directory, CELL_SECONDS * 6
        )
        if code:
            raise StepError(
                _reason(errors),
                where=f"projects/{project.name}/notebooks/{notebook.name}",
                do="run it from the top in a fresh kernel, and correct it",
            )
    return ", ".join(notebook.name for notebook in found)


def _refuse_output(programs: Path, found: list[Path], project: Project) -> None:
    done = subprocess.run(
        [str(programs / "nbstripout"), "--verify", "--keep-id", *map(str, found)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StepError(
            f"a notebook holds output: {' '.join(done.stdout.split()) or done.stderr.strip()}",
            where=f"projects/{project.name}/notebooks",
            do="`nbstripout --keep-id NOTEBOOK` takes it out",
        )


def _reason(output: str) -> str:
    """The exception at the end of what papermill said, and the cell that it names."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    cell = next((line for line in lines if line.startswith("Exception encountered at")), "")
    return f"{lines[-1] if lines else 'papermill said nothing'}" + (f" ({cell})" if cell else "")
