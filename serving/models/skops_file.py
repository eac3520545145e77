"""Loading an estimator from a skops file without running code that the file brings along."""

import importlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import skops.io

from serving.errors import VersionRefused

_PACKAGES = ("sklearn.", "scipy.")
# What HistGradientBoosting keeps its categorical encoding in. A partial only ever holds a function that is trusted.
_KNOWN_FUNCTIONS = frozenset({"functools.partial", "sklearn.utils.validation.check_array"})


def load(path: Path, declared: list[str]) -> Any:
    """Load the estimator in `path`.

    skops by itself trusts scikit-learn's estimators and numpy's functions. What a file needs on top has to be both
    declared by whoever logged the model and a class of scikit-learn or scipy: the declaration is part of the artifact,
    so alone it would let the artifact vouch for itself.

    Raises:
        VersionRefused: the file needs another type, or is no skops file that this environment can read.
    """
    try:
        needed = skops.io.get_untrusted_types(file=path)
        foreign = [name for name in needed if name not in declared or not _is_known(name)]
        if foreign:
            raise VersionRefused(
                f"its model file holds types that are not trusted: {', '.join(foreign)}. Only classes of scikit-learn "
                "and scipy are, and only those given to log_model as skops_trusted_types; put own steps into dbt"
            )
        return skops.io.load(path, trusted=needed)
    except (BadZipFile, ValueError, TypeError, KeyError, AttributeError, ImportError) as exc:
        raise VersionRefused(f"its model file cannot be read by skops: {type(exc).__name__}: {exc}") from exc


def _is_known(name: str) -> bool:
    if name in _KNOWN_FUNCTIONS:
        return True
    if not name.startswith(_PACKAGES):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type)
