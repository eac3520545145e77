"""The entry point of a project, called as a training would call it, with the declared and with searched parameters."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from pipelines.errors import StepError
from pipelines.project import Project, Range, Value
from pipelines.training.entry_point import build_model


def entry_point_problems(project: Project) -> list[str]:
    """Why the entry point cannot build a model, if it cannot; what it prints goes to stderr."""
    declared = project.training.parameters
    found = _build(project, declared)
    if found or project.training.search is None:
        return [found] if found else []
    problems = []
    for name, values in project.training.search.space.items():
        tried = _first(values)
        if text := _build(project, declared | {name: tried}):
            problems.append(f"training.search.space.{name}: with {name} = {tried!r}, {text}")
    return problems


def _first(values: Range) -> Value:
    return values.choices[0] if values.choices else values.low


def _build(project: Project, parameters: dict[str, Value]) -> str:
    """The message of a failure, or nothing."""
    try:
        with redirect_stdout(sys.stderr):
            build_model(project, parameters)
    except StepError as error:
        return str(error)
    except SystemExit as error:
        return f"projects/{project.name}: the entry point ends the process ({error})"
    return ""
