"""Step ``transform``: build and test the project's dbt selection (inside Airflow, Cosmos does that)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pipelines.data.failures import failing_nodes, failure_error
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.connections import variables
from pipelines.progress import say
from pipelines.project import Project

_NOISE = re.compile(r"(START|PASS|OK hook|START hook)\b")
_STAMP = re.compile(r"^\d\d:\d\d:\d\d\s*")


def run(env: Environment, project: Project) -> dict[str, Any]:
    """``dbt build`` of the selection; a failing test is a StepError with the rows, and the mart stays as it was.

    Returns ``{"models": built, "tests": passed, "warnings": n}``. A project whose table somebody else fills has nothing
    to build.
    """
    if project.data.dbt_select is None:
        say("  nothing to build: the project declares no dbt_select")
        return {"models": 0, "tests": 0, "warnings": 0}
    # Beside the manifest that Airflow reads: dbt writes its own while it works.
    target = env.state_dir / "dbt" / "build"
    target.mkdir(parents=True, exist_ok=True)
    code, output = _dbt(env, ["build", "--select", project.data.dbt_select], target)
    if code == 0:
        return _counts(target / "run_results.json")
    failing = failing_nodes(env, project) if _ran(output) else []
    if failing:
        raise failure_error(env, failing)
    raise StepError(f"dbt build failed: {_reason(output)}", where="dbt_project", do="correct the cause and start again")


def _dbt(env: Environment, arguments: list[str], target: Path) -> tuple[int, list[str]]:
    """Run dbt, show what it builds, and return its exit code and its lines without the time."""
    directory = str(env.repo / "dbt_project")
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("dbt")), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=env.repo,
        env={
            **variables(env, os.environ),
            "DBT_PROJECT_DIR": directory,
            "DBT_PROFILES_DIR": directory,
            "DBT_TARGET_PATH": str(target),
            "DBT_LOG_PATH": str(target),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
            "PLATFORM_ACTOR": env.actor,
            "PLATFORM_PIPELINE_RUN": env.pipeline_run,
        },
    )
    lines: list[str] = []
    for line in process.stdout or ():
        text = _STAMP.sub("", line.rstrip())
        lines.append(text)
        if text and not _NOISE.search(text):
            say(f"  {text}")
    return process.wait(), lines


def _ran(output: list[str]) -> bool:
    """Whether dbt came as far as running nodes: only then is what the warehouse says about failures of this run."""
    return any(line.startswith("Completed with") for line in output)


def _reason(output: list[str]) -> str:
    """The error at the end of dbt's output, on one line."""
    text = [line.strip() for line in output if line.strip()]
    start = next((index for index, line in enumerate(text) if "Error" in line), max(len(text) - 3, 0))
    return " ".join(text[start : start + 4])[:600] or "it said nothing"


def _counts(results: Path) -> dict[str, int]:
    found = json.loads(results.read_text(encoding="utf-8"))["results"]
    kinds = Counter((item["unique_id"].partition(".")[0], item["status"]) for item in found)
    return {
        "models": kinds["model", "success"],
        "tests": kinds["test", "pass"],
        "warnings": sum(count for (_, status), count in kinds.items() if status == "warn"),
    }
