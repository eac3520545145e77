"""Images in one file, for a machine without a registry.

The file is a gzipped tar: first `platform-images.json`, which says what is in it, then what `docker save` writes. So
`docker load` takes it as it is, and what it holds is known before any of it is loaded.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from platform_cli.docker.build import MEGABYTE, Present, check_disk, present
from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.errors import PlatformError

INDEX = "platform-images.json"
FORMAT = 1
# The fastest level: twice as quick as the usual one, for a tenth more of bytes.
LEVEL = 1
PACKED = 0.45
"""What is left of an image's size when it is packed, rather more than less."""
UNPACKED = 2
"""How many times its size an image takes while it is loaded: the engine unpacks the file beside what it keeps."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """An image in an archive: its name, the digest of its layers, and its size in bytes."""

    name: str
    layers: str
    size: int


@dataclass(frozen=True)
class Index:
    """What an archive holds, and for which architecture."""

    architecture: str
    images: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Of all images together, in bytes; layers that they share count in each."""
        return sum(entry.size for entry in self.images)

    def text(self) -> str:
        """The index as JSON."""
        images = [vars(entry) for entry in self.images]
        return json.dumps({"format": FORMAT, "architecture": self.architecture, "images": images}, indent=1)


def save(engine: Engine, names: Sequence[str], there: Mapping[str, Present], file: Path) -> int:
    """Write these images to a file that does not exist yet. It has its name only when it is whole.

    Returns:
        the file's size in bytes.

    Raises:
        PlatformError: the file exists, its disk has no room, or the engine failed.
    """
    _check_target(file)
    index = Index(
        there[names[0]].architecture, tuple(Entry(name, there[name].layers, there[name].size) for name in names)
    )
    free = shutil.disk_usage(file.parent).free
    if free < index.size * PACKED:
        raise PlatformError(
            f"{free // MEGABYTE} MB of disk are free, about {index.size * PACKED // MEGABYTE:.0f} MB are needed",
            where=str(file.parent),
            do="name a file on another disk",
        )
    part = file.with_name(f"{file.name}.part")
    try:
        with gzip.open(part, "xb", compresslevel=LEVEL) as out, engine.reading("save", *names) as images:
            out.write(_member(index.text()))
            shutil.copyfileobj(images, out, _CHUNK)
        part.rename(file)
    except FileExistsError:
        raise PlatformError(
            "somebody is writing this file, or has stopped halfway", where=str(part), do="remove it if nobody does"
        ) from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return file.stat().st_size


def read_index(file: Path) -> Index:
    """What an archive holds, by its first bytes.

    Raises:
        PlatformError: there is no such file, or it is no archive of `save`.
    """
    try:
        with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            first = tar.next()
            content = tar.extractfile(first) if first is not None and first.name == INDEX else None
            index = json.load(content) if content is not None else {}
    except FileNotFoundError:
        raise PlatformError("there is no such file", where=str(file), do="name what `save` has written") from None
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise _unusable(file, f"the file cannot be read: {error}") from None
    if index.get("format") != FORMAT:
        raise _unusable(file, "this is no archive that `platform images save` of this version has written")
    return Index(index["architecture"], tuple(Entry(**entry) for entry in index["images"]))


def load(engine: Engine, file: Path) -> Index:
    """Hand an archive to the engine and see that what it promises is there.

    Raises:
        PlatformError: the file is no archive, is damaged or for other machines, or the engine's disk has no room.
    """
    index = read_index(file)
    architecture = engine.architecture
    if index.architecture != architecture:
        raise PlatformError(
            f"these images are for {index.architecture}, and this engine's machine is {architecture}",
            where=str(file),
            do=f"save them on a machine that is {architecture} too",
        )
    check_disk(engine, index.size * UNPACKED // MEGABYTE)
    try:
        for _ in engine.stream("load", "--quiet", "--input", str(file)):
            pass
    except DockerFailed as error:
        raise _unusable(file, f"the engine does not take the file: {error.detail}") from None
    there = present(engine, [entry.name for entry in index.images])
    wrong = [
        entry.name for entry in index.images if entry.name not in there or there[entry.name].layers != entry.layers
    ]
    if wrong:
        raise _unusable(file, f"the engine has not got what the file promises: {', '.join(wrong)}")
    return index


def _check_target(file: Path) -> None:
    if file.exists():
        raise PlatformError(
            "this file exists, and is not overwritten", where=str(file), do="name another, or remove it"
        )
    if not file.parent.is_dir():
        raise PlatformError("there is no such directory", where=str(file.parent), do="make it, or name another")


def _member(text: str) -> bytes:
    """A tar archive of the index alone, without the blocks that end an archive."""
    data = text.encode()
    info = tarfile.TarInfo(INDEX)
    info.size = len(data)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return buffer.getvalue()[:end]


def _unusable(file: Path, what: str) -> PlatformError:
    return PlatformError(what, where=str(file), do="copy or save it again: `platform images save FILE`")
