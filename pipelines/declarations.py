"""Reading declarations (YAML) so that a mistake becomes one message with file, key and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import StepError


class _UniqueKeys(yaml.SafeLoader):
    """YAML takes the last of two equal keys silently; a declaration must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """The content of the YAML file `path`; broken YAML is a StepError with the line."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 (derives SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"cannot be read: {error}", where=str(path)) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise StepError(error.problem or "not YAML", where=f"{path}{line}", do="correct the YAML") from None


def explain(error: ValidationError, model: type[BaseModel], file: str) -> StepError:
    """The refusal of pydantic as one message: a line for each key that is wrong."""
    lines = [_line(dict(item), model) for item in error.errors()]
    what = lines[0] if len(lines) == 1 else "several keys are wrong\n" + "\n".join(f"  {line}" for line in lines)
    return StepError(what, where=file, do="correct the file and start again")


def _line(item: dict[str, Any], model: type[BaseModel]) -> str:
    location = tuple(part for part in item["loc"] if part != "[key]")
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        allowed = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{key}: unknown key{hint}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        return f"{key}: this key is missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, not {item['input']!r}" if key else f"{message}, not {item['input']!r}"


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that the model at `location` below `model` knows."""
    for part in location:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        if inner is not None:
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model that `annotation` is or contains (``Model | None``, ``list[Model]``)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
