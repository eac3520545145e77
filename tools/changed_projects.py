"""Prints the projects that a change concerns, one a line: ``changed_projects.py BASE`` (a commit, such as origin/main).

A change of a project's own files concerns that project; one of anything else but documentation concerns all of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

REPO = Path(__file__).resolve().parents[1]
OWN = ("projects", "dbt_project/models", "dbt_project/tests")
IGNORED = {".md", ".png"}


def concerned(changed: Iterable[str], projects: Iterable[str]) -> list[str]:
    """Those of `projects` that the paths `changed` concern, sorted."""
    known = set(projects)
    found: set[str] = set()
    for path in changed:
        owner = _owner(path, known)
        if owner:
            found.add(owner)
        elif PurePosixPath(path).suffix not in IGNORED:
            return sorted(known)
    return sorted(found)


def _owner(path: str, projects: set[str]) -> str | None:
    """The project whose own file `path` is."""
    for directory in OWN:
        name = path.removeprefix(f"{directory}/").partition("/")[0]
        if path.startswith(f"{directory}/{name}/") and name in projects:
            return name
    parts = PurePosixPath(path)
    return parts.stem if parts.parts[0] == "airbyte" and parts.stem in projects else None


def main() -> None:
    """Ask git for the paths that differ from the base, and print the projects."""
    done = subprocess.run(
        ["git", "diff", "--name-only", f"{sys.argv[1]}...HEAD"], cwd=REPO, capture_output=True, text=True, check=True
    )
    names = [file.parent.name for file in (REPO / "projects").glob("*/project.yaml")]
    print("\n".join(concerned(done.stdout.splitlines(), names)))


if __name__ == "__main__":
    main()
