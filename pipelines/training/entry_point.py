"""The one function that a project brings: it builds the model that is trained."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sklearn.base import is_classifier

from pipelines.errors import StepError
from pipelines.project import Project, Task, Value

WANTED: dict[Task, tuple[str, tuple[str, ...]]] = {
    "classification": ("classifier", ("fit", "predict", "predict_proba")),
    "regression": ("regressor", ("fit", "predict")),
}


def build_model(project: Project, parameters: Mapping[str, Value] | None = None) -> Any:
    """Call the project's entry point with `parameters`, the declared ones unless given.

    StepError if it is missing, fails, or returns no model of the project's task; memory that is not there stays a
    MemoryError.
    """
    module_name, _, function_name = project.training.entry_point.partition(":")
    file = project.directory / f"{module_name}.py"
    where = f"projects/{project.name}/{file.name}"
    if not file.is_file():
        raise StepError("the entry point's file is not there", where=where, do="correct training.entry_point")
    function = getattr(_import(project, file, f"project_{project.name}_{module_name}"), function_name, None)
    if not callable(function):
        raise StepError(f"has no function {function_name}", where=where, do="correct training.entry_point")
    try:
        model = function(
            parameters=dict(project.training.parameters if parameters is None else parameters),
            features=dict(project.data.features),
            seed=project.training.seed,
        )
    except MemoryError:
        raise
    except Exception as error:
        raise StepError(
            f"{function_name} failed: {type(error).__name__}: {error}",
            where=place(error, project) or where,
            do="correct it, or training.parameters; --debug shows the traceback",
        ) from error
    _check(model, project.task, function_name, where)
    return model


def place(error: BaseException, project: Project) -> str | None:
    """The line of the project's code (``projects/<name>/<file>:<line>``) that `error` came through last, if any."""
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(project.directory):
            found = f"projects/{project.name}/{file.relative_to(project.directory)}:{frame.lineno}"
    return found


def _check(model: Any, task: Task, function_name: str, where: str) -> None:
    """Refuse what is no unfitted model of `task`."""
    name, methods = WANTED[task]
    if isinstance(model, type):
        told = f"the class {model.__name__}, not an object of it"
    elif not all(callable(getattr(model, method, None)) for method in methods):
        told = f"{type(model).__name__}, which is no {name}"
    elif task == "regression" and is_classifier(model):
        told = f"{type(model).__name__}, which is a classifier"
    else:
        return
    raise StepError(
        f"{function_name} returned {told}",
        where=where,
        do=f"return an unfitted scikit-learn {name} with {', '.join(methods)}; the declaration says task: {task}",
    )


def _import(project: Project, file: Path, name: str) -> ModuleType:
    where = f"projects/{project.name}/{file.name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StepError("cannot be imported", where=where, do="it must be a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        raise StepError(
            f"needs the package {error.name!r}, which is not there",
            where=place(error, project) or where,
            do="add it to the group `pipelines` of pyproject.toml, then `make locks` and `platform install`",
        ) from error
    except Exception as error:
        told = f"cannot be imported: {type(error).__name__}: {error}"
        raise StepError(told, where=place(error, project) or where, do="correct it") from error
    return module
