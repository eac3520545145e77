"""The versions of what a pipeline run is made of."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

COMPONENTS = ("dbt-core", "evidently", "mlflow-skinny", "numpy", "optuna", "pandas", "pyarrow", "scikit-learn", "skops")


def component_versions() -> dict[str, str]:
    """Python and the packages that decide what a step computes, by name; only those that are installed."""
    found = {"python": platform.python_version()}
    for name in COMPONENTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
