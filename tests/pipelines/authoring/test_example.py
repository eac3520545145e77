"""The sample's declaration is the reference: with every mark `#:` taken away it holds every key that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from pipelines.declarations import read_yaml
from pipelines.project import Declaration, load_project

REPO = Path(__file__).resolve().parents[3]
EXAMPLE = REPO / "projects/flight_delay/project.yaml"
ALTERNATIVES = {("training.split.test_days", "training.split.test_months")}


def whole() -> dict[str, Any]:
    """The example with what the sample does without."""
    content: dict[str, Any] = yaml.safe_load(re.sub(r"^( *)#: ", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    return content


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every key below `model`, as a path; one below any name of a mapping has `*` there."""
    found = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        found.add(path)
        inner, mapping = section_in(field.annotation)
        if inner is not None:
            found |= keys_of(inner, f"{path}.*." if mapping else f"{path}.")
    return found


def section_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that `annotation` is or holds, and whether it is the value of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for inner in get_args(annotation):
        found, mapping = section_in(inner)
        if found is not None:
            return found, mapping or getattr(annotation, "__origin__", None) is dict
    return None, False


def shown(content: Any, schema: set[str], prefix: str = "") -> set[str]:
    """Every key of the schema that `content` has."""
    if isinstance(content, list):
        return {path for item in content for path in shown(item, schema, prefix)}
    if not isinstance(content, dict):
        return set()
    found = set()
    for name, value in content.items():
        path = f"{prefix}{name}" if f"{prefix}{name}" in schema else f"{prefix}*"
        found |= {path} | shown(value, schema, f"{path}.")
    return found


def test_the_example_is_a_declaration_with_and_without_its_marks() -> None:
    assert load_project(REPO, "flight_delay").description == whole()["description"]
    Declaration.model_validate(whole())
    assert whole() != read_yaml(EXAMPLE), "no key is marked"


def test_the_example_shows_every_key_of_the_schema() -> None:
    schema = keys_of(Declaration)
    missing = schema - shown(whole(), schema)
    for alternatives in ALTERNATIVES:
        if len(missing & set(alternatives)) < len(alternatives):
            missing -= set(alternatives)
    assert not missing
