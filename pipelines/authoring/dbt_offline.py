"""dbt without a database: parses the dbt project of a checkout, resolves selections, and compiles the models in them.

A program of its own, ``python -m pipelines.authoring.dbt_offline REPO TARGET SELECT…``, since dbt keeps its state in
the process. It writes ``manifest.json`` and ``offline.json`` (an `Offline`) into the directory TARGET.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.authoring import CODE
from pipelines.errors import StepError

SECONDS = 120
RESULT = "offline.json"
_COMMON = ["--quiet", "--log-level", "none"]


@dataclass(frozen=True)
class Offline:
    """What dbt says: `error` if the project cannot be parsed; models by selection; SQL or an error by model."""

    error: str = ""
    selections: dict[str, list[str]] = field(default_factory=dict)
    compiled: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def ask_dbt(repo: Path, target: Path, selections: list[str]) -> Offline:
    """Start the program on `repo` and read what it found; StepError if it said nothing."""
    target.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipelines.authoring.dbt_offline", str(repo), str(target), *selections]
    variables = os.environ | {"PLATFORM_SCRATCH": "", "PYTHONPATH": str(CODE)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)
    try:
        return Offline(**json.loads((target / RESULT).read_text(encoding="utf-8")))
    except OSError:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise StepError(
            f"dbt ended without an answer: {lines[-1] if lines else done.returncode}",
            where="dbt_project",
            do="is the environment whole? `platform install`",
        ) from None


def read_project(repo: Path, target: Path, selections: list[str]) -> Offline:
    """Parse the dbt project of `repo`, and resolve and compile what `selections` name."""
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 (it takes a second, and only this process needs it)

    directory = str(repo / "dbt_project")
    places = ["--project-dir", directory, "--profiles-dir", directory, "--target-path", str(target)]
    common = [*_COMMON, "--log-path", str(target)]
    # Its result is of many types, one a command.
    parsed: Any = dbtRunner().invoke([*common, "--warn-error", "parse", *places])
    if not parsed.success:
        return Offline(error=_one_line(parsed.exception))
    dbt = dbtRunner(manifest=parsed.result)
    models: dict[str, list[str]] = {}
    for selection in selections:
        what = ["--select", *selection.split(), "--resource-types", "model", "--output", "json"]
        listed: Any = dbt.invoke([*common, "ls", *places, *what, "--output-keys", "unique_id"])
        if not listed.success:
            return Offline(error=f"{selection}: {_one_line(listed.exception)}")
        models[selection] = [json.loads(line)["unique_id"] for line in listed.result or []]
    if not any(models.values()):
        return Offline(selections=models)
    what = ["--select", *(word for selection in selections for word in selection.split())]
    done: Any = dbt.invoke([*common, "compile", *places, *what, "--no-populate-cache", "--no-introspect"])
    if done.exception:
        return Offline(error=_one_line(done.exception), selections=models)
    compiled, errors = _sorted_out(done.result or [])
    return Offline(selections=models, compiled=compiled, errors=errors)


def _sorted_out(results: Any) -> tuple[dict[str, str], dict[str, str]]:
    """SQL by model, and the error by model where there is one; what has to ask the database is neither."""
    compiled, errors = {}, {}
    for item in results:
        if item.node.resource_type != "model":
            continue
        if item.node.compiled_code and not item.message:
            compiled[item.node.unique_id] = item.node.compiled_code
        elif item.message and "introspect" not in item.message:
            errors[item.node.unique_id] = " ".join(item.message.split())
    return compiled, errors


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split()) or "it said nothing"


def main() -> None:
    """Answer for the checkout, the target directory and the selections that the command line gives."""
    repo, target, *selections = sys.argv[1:]
    found = read_project(Path(repo), Path(target), selections)
    (Path(target) / RESULT).write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
