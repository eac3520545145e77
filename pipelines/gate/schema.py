"""Whether a candidate takes the records that are declared, and those that the champion takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow.models import ModelSignature

from pipelines.project import FeatureType, Task

TYPES: dict[FeatureType, frozenset[str]] = {
    "category": frozenset({"string"}),
    "number": frozenset({"double"}),
    "integer": frozenset({"long", "double"}),
    "boolean": frozenset({"boolean", "double"}),
}
"""The types that a declared feature may have in a signature: double where values were missing in training."""
WIDER = {"long": frozenset({"double"})}
"""For each type the others that accept all of its values, as the model server sees it."""


@dataclass(frozen=True)
class Field:
    """One input of a model."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Schema:
    """The inputs of a model, and its task."""

    fields: tuple[Field, ...]
    task: Task

    @classmethod
    def of(cls, signature: ModelSignature | None) -> Schema:
        """Read a signature with named columns; no fields if it has none."""
        inputs = signature.inputs if signature else None
        columns = [] if inputs is None or inputs.is_tensor_spec() else inputs.inputs
        fields = tuple(Field(column.name, column.type.name, column.required) for column in columns)
        outputs = signature.outputs if signature else None
        value = outputs is not None and not outputs.is_tensor_spec() and outputs.inputs[0].type.name == "double"
        return cls(fields, "regression" if value else "classification")


@dataclass(frozen=True)
class Changes:
    """What differs: `problems` speak against the candidate, `declared` changes are what the declaration asks for."""

    problems: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)


def against_declaration(candidate: Schema, features: Mapping[str, FeatureType]) -> list[str]:
    """Each difference between the candidate's inputs and the declared features."""
    types = {item.name: item.type for item in candidate.fields}
    found = [f"the declared feature {name} is not among its inputs" for name in features if name not in types]
    found += [f"its input {name} is not declared" for name in types if name not in features]
    found += [
        f"it takes {name} as {types[name]}, which is declared as {kind}"
        for name, kind in features.items()
        if name in types and types[name] not in TYPES[kind]
    ]
    return found


def against_champion(candidate: Schema, champion: Schema, features: Mapping[str, FeatureType]) -> Changes:
    """Why the candidate does not accept each record that the champion accepts.

    A feature that is gone, new or of another kind follows from the declaration: somebody decided it. A candidate that
    is stricter without that is so by the chance of its rows: callers would be refused without warning.
    """
    before = {item.name: item for item in champion.fields}
    changes = Changes()
    changes.declared.extend(f"the feature {name} was dropped" for name in before if name not in features)
    for new in candidate.fields:
        old = before.get(new.name)
        if old is None:
            changes.declared.extend([f"the feature {new.name} is new and required"] if new.required else [])
        elif new.name in features and old.type not in TYPES[features[new.name]]:
            changes.declared.append(f"the feature {new.name} was {old.type} and is {new.type}")
        elif new.type != old.type and new.type not in WIDER.get(old.type, ()):
            changes.problems.append(f"{new.name} was {old.type} and is {new.type}")
        elif new.required and not old.required:
            changes.problems.append(f"{new.name} may be missing for the champion and is required by the candidate")
    return changes


def incomparable(champion: Schema, task: Task, features: Mapping[str, FeatureType]) -> list[str]:
    """Why the champion cannot be asked about rows of the declared features; nothing if it can."""
    if champion.task != task:
        return [f"it is a {champion.task}"]
    gone = [item.name for item in champion.fields if item.name not in features]
    kinds = [
        f"{item.name} as {item.type}"
        for item in champion.fields
        if item.name in features and item.type not in TYPES[features[item.name]]
    ]
    found = [f"it needs {', '.join(gone)}, no longer declared"] if gone else []
    return found + ([f"it takes {', '.join(kinds)}, declared otherwise now"] if kinds else [])
