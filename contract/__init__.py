"""What the training side writes on a model version and the model server reads from it.

The only code that `pipelines` and `serving` share; standard library only, so that both environments can import it.
"""

import hashlib
from pathlib import Path

DIGEST_TAG = "platform.artifact_digest"
"""`artifact_digest` of the version's model directory, recorded at registration and checked before it is loaded."""

ENTITY_KEY_TAG = "platform.entity_key"
"""Name of the record field that identifies what a prediction is about (`flight_id`), to join the outcome later."""

SNAPSHOT_TAG = "platform.snapshot"
"""URI of the training snapshot."""

GATE_TAG = "platform.gate"
"""`passed`, or `refused: <reason>`."""

ALIAS_CHAMPION = "champion"
"""The alias of a registered model whose version is served."""

_ADDED_AFTER_LOGGING = frozenset({"registered_model_meta"})
_CHUNK_BYTES = 1 << 20


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


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
