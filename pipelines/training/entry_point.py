"""The one function that a project brings: it builds the model that is trained."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from pipelines.errors import StepError
from pipelines.project import Project


def build_model(project: Project) -> Any:
    """Call the project's entry point; StepError if it is missing, fails, or returns no classifier."""
    module_name, _, function_name = project.training.entry_point.partition(":")
    file = project.directory / f"{module_name}.py"
    where = f"projects/{project.name}/{file.name}"
    if not file.is_file():
        raise StepError("the entry point's file is not there", where=where, do="correct training.entry_point")
    function = getattr(_import(file, f"project_{project.name}_{module_name}", where), function_name, None)
    if not callable(function):
        raise StepError(f"has no function {function_name}", where=where, do="correct training.entry_point")
    try:
        model = function(
            parameters=dict(project.training.parameters),
            features=dict(project.data.features),
            seed=project.training.seed,
        )
    except Exception as error:
        raise StepError(
            f"{function_name} failed: {type(error).__name__}: {error}",
            where=where,
            do="correct it, or training.parameters; --debug shows where",
        ) from error
    if not all(callable(getattr(model, method, None)) for method in ("fit", "predict_proba")):
        raise StepError(
            f"{function_name} returned {type(model).__name__}, which is no classifier",
            where=where,
            do="return an unfitted scikit-learn estimator with fit and predict_proba",
        )
    return model


def _import(file: Any, name: str, where: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StepError("cannot be imported", where=where, do="it must be a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise StepError(
            f"cannot be imported: {type(error).__name__}: {error}",
            where=where,
            do="correct it; a package it needs belongs to the group `pipelines` of pyproject.toml",
        ) from error
    return module
