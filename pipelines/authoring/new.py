"""`platform new`: make a project that passes its own checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.authoring import plan as plans
from pipelines.authoring.facts import AirbyteType, read_csv, read_table
from pipelines.authoring.files import render
from pipelines.authoring.guess import guess
from pipelines.authoring.plan import Plan
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import PROJECT_NAME, Task

CSV = ".csv"


@dataclass(frozen=True)
class Wish:
    """What a person asked for: `source` is a table (schema.name), a CSV file, or None."""

    name: str
    source: str | None = None
    task: Task | None = None
    key: str | None = None
    time: str | None = None
    target: str | None = None


def run(repo: Path, wish: Wish) -> dict[str, Any]:
    """Write the files of the project below the checkout `repo`; StepError if one of them is there already.

    Returns `project`, `files` (paths below the checkout) and `notes` (what was guessed).
    """
    if not PROJECT_NAME.fullmatch(wish.name):
        raise StepError(
            f"{wish.name!r} cannot be a project's name",
            do="take small letters, digits and underscores, a letter first, at most 40 of them",
        )
    _refuse_existing(repo, wish.name)
    plan = _plan(wish)
    files = render(plan)
    write(repo, files)
    return {"project": wish.name, "files": sorted(files), "notes": list(plan.notes)}


def _refuse_existing(repo: Path, name: str) -> None:
    places = [f"projects/{name}", f"dbt_project/models/{name}", f"airbyte/sources/{name}.yaml"]
    places += [f"airbyte/connections/{name}.yaml"]
    there = [place for place in places if (repo / place).exists()]
    there += [str(file.relative_to(repo)) for file in (repo / "dbt_project/models").rglob(f"stg_{name}.sql")]
    if there:
        raise StepError(
            "is there already; nothing was written",
            where=", ".join(there),
            do="take another name, or remove what is there",
        )


def _plan(wish: Wish) -> Plan:
    if wish.source is None:
        given = [option for option in (wish.key, wish.time, wish.target) if option]
        if given:
            raise StepError("--key, --event-time and --target name columns of a table", do="give the table with --from")
        return plans.example(wish.name, wish.task or "classification")
    types: dict[str, AirbyteType] = {}
    if wish.source.endswith(CSV):
        table = f"raw.{wish.name}"
        columns, types = read_csv(Path(wish.source))
    else:
        table = wish.source
        columns = read_table(Environment.from_env(), table)
    roles = guess(columns, task=wish.task, key=wish.key, time=wish.time, target=wish.target)
    return plans.from_roles(wish.name, table, roles, types)


def write(repo: Path, files: dict[str, str]) -> None:
    """Write all `files` (path below `repo` → content), or none of them."""
    written: list[Path] = []
    try:
        for name, content in files.items():
            path = repo / name
            made = [parent for parent in path.parents if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            written += reversed(made)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(content)
    except BaseException:
        for path in reversed(written):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        raise
