"""What the training side writes on a model version and the model server reads from it, and what of a checkout a step is
made of.

The only code that `pipelines` shares with `serving` and with the `platform` command; standard library only, so that all
their environments can import it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DIGEST_TAG = "platform.artifact_digest"
"""`artifact_digest` of the version's model directory, recorded at registration and checked before it is loaded."""

ENTITY_KEY_TAG = "platform.entity_key"
"""Name of the record field that identifies what a prediction is about (`flight_id`), to join the outcome later."""

SNAPSHOT_TAG = "platform.snapshot"
"""URI of the training snapshot."""

GATE_TAG = "platform.gate"
"""`passed`, or `refused: <reason>`."""

CANARY_SHARE_TAG = "platform.canary_share"
"""Percent of the traffic, 0 to 100, that the version gets while it is canary; 10 without the tag."""

EXAMPLE_OUTPUT_TAG = "platform.example_output"
"""`example_output` of the model for the rows of its input example; a server that gets other outputs refuses it."""

SIGNATURE_CHANGE_TAG = "platform.signature_change"
"""`allowed`: the version may replace a champion although it does not accept every record that this one accepts."""

SERVING_STATUS_TAG = "platform.serving"
"""Written by the model server: why it refuses the version. Gone once the version serves."""

ALIAS_CHAMPION = "champion"
"""The alias of the version that answers."""

ALIAS_CANARY = "canary"
"""The alias of the version that answers a share of the requests."""

ALIAS_SHADOW = "shadow"
"""The alias of the version that gets a copy of the requests, and whose answers are only written down."""

STEP_SOURCES = ("airbyte", "contract", "dags", "dbt_project", "pipelines", "projects")
"""The directories of a checkout that a step of the loop is made of."""

_MADE_BY_TOOLS = frozenset({"__pycache__", ".ipynb_checkpoints", "dbt_project/target", "dbt_project/logs"})
_ADDED_AFTER_LOGGING = frozenset({"registered_model_meta"})
_CHUNK_BYTES = 1 << 20
_MAX_TAG_LENGTH = 5000


def artifact_digest(directory: Path) -> str:
    """Return the sha256 (64 hex characters) of a model directory's content.

    It covers each file's path relative to `directory` and its bytes, in the order of the paths, so it is the same
    wherever the directory lies. Files that MLflow adds to the root after logging are left out: a download of the
    artifact has the digest that was computed when it was logged.

    Raises:
        FileNotFoundError: `directory` does not exist or holds no file.
    """
    files = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).as_posix() not in _ADDED_AFTER_LOGGING
    }
    if not files:
        raise FileNotFoundError(f"no model files in {directory}")
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{_file_sha256(files[name])}\n".encode())
    return digest.hexdigest()


def sources_digest(repo: Path) -> str:
    """Return the sha256 (64 hex characters) of `STEP_SOURCES` in a checkout, or in a container that is shown them: each
    file's path relative to `repo` and its bytes, in the order of the paths. What tools leave there is not counted."""
    digest = hashlib.sha256()
    for part in STEP_SOURCES:
        for file in sorted((repo / part).rglob("*")):
            name = file.relative_to(repo)
            if file.is_file() and not made_by_tools(name):
                digest.update(f"{name.as_posix()}\0{_file_sha256(file)}\n".encode())
    return digest.hexdigest()


def made_by_tools(path: Path) -> bool:
    """Return whether a path, relative to the checkout, is of what tools leave there."""
    return bool(_MADE_BY_TOOLS & {*path.parts, "/".join(path.parts[:2])})


def example_output(predictions: Sequence[Any], by_class: Sequence[Sequence[float]] | None) -> str | None:
    """Return the value of `EXAMPLE_OUTPUT_TAG`: what a model answers for the rows of its input example, as JSON.

    Args:
        predictions: what `predict` gives, as Python values, one a row.
        by_class: what `predict_proba` gives, or None. With two classes the probability of the second is kept, with
            more that of the likeliest, as the model server answers.

    None if it is too long for a tag: a shortened number would be another number.
    """
    probabilities = None if by_class is None else [row[1] if len(row) == 2 else max(row) for row in by_class]
    text = json.dumps({"predictions": list(predictions), "probabilities": probabilities})
    return text if len(text) <= _MAX_TAG_LENGTH else None


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
