"""A template as Coder takes it: a tar that is the same, byte for byte, for the same files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from platform_cli.errors import PlatformError

MAX_BYTES = 1 << 20
"""What Coder's provisioners take of a template."""


def pack(directory: Path) -> bytes:
    """The files of a template as a USTAR: sorted, without owners and times.

    Raises:
        PlatformError: there is no main.tf, or it is too large.
    """
    if not (directory / "main.tf").is_file():
        raise PlatformError("the template has no main.tf", where=str(directory), do="restore it: `git checkout`")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            # what Terraform leaves behind when somebody tries the template by hand is not part of it
            if path.is_file() and not any(part.startswith(".") or ".tfstate" in part for part in name.parts):
                _add(tar, name.as_posix(), path)
    packed = buffer.getvalue()
    if len(packed) > MAX_BYTES:
        raise PlatformError(
            f"the template has {len(packed)} bytes, more than the {MAX_BYTES} that Coder takes",
            where=str(directory),
            do="remove from it what is no part of a template",
        )
    return packed


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    content = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(content))


def digest_of(archive: bytes, variables: Mapping[str, str]) -> str:
    """Changes when a file of the template or a value that it is pushed with does."""
    return hashlib.sha256(archive + b"\0" + json.dumps(variables, sort_keys=True).encode()).hexdigest()[:16]
