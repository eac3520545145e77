"""Artifacts on this machine's disk, addressed by their digest, shared by the worker processes of a server.

Locks (flock, so that they go with the process that holds them): whoever uses an artifact shares `.lock`; whoever
removes some needs it alone, and lets it be if somebody has it; what was used within the last hour also stays, since
another process may be about to serve it. `.lock-DIGEST` is for whoever downloads that artifact,
so that the other processes wait for it instead of downloading it too.
"""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from contract import artifact_digest
from serving.errors import VersionRefused

UNUSED_SECONDS = 3600
_INCOMING = ".incoming-"
_LOCK = ".lock"
_DIGEST = re.compile("[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether `text` is a digest as `contract.artifact_digest` writes it."""
    return _DIGEST.fullmatch(text) is not None


class ArtifactCache:
    """Model directories by digest. Nothing leaves it without having been compared with its digest."""

    def __init__(self, directory: Path) -> None:
        """Keep artifacts in `directory`, which is made if it is missing; what a killed process left is removed."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._remove(lambda path: path.name.startswith(_INCOMING))

    @contextmanager
    def opened(self, digest: str, download: Callable[[Path], Path] | None) -> Iterator[Path]:
        """Yield the model directory with this digest; it stays until the block ends.

        Args:
            digest: of the artifact.
            download: writes the artifact below the directory that it is given, and returns where; None: only what
                is there already.

        Raises:
            VersionRefused: what was downloaded has another digest, or it is not there.
        """
        with _locked(self.directory / _LOCK, fcntl.LOCK_SH):
            with _locked(self.directory / f"{_LOCK}-{digest}", fcntl.LOCK_EX):
                directory = self._verified(digest, download)
                os.utime(directory)
            yield directory

    def prune(self, keep: Set[str]) -> None:
        """Remove the artifacts that were not used for an hour, but for those with a digest in `keep`."""
        limit = time.time() - UNUSED_SECONDS

        def is_old(path: Path) -> bool:
            digest = path.name.removeprefix(f"{_LOCK}-")
            return is_digest(digest) and digest not in keep and path.stat().st_mtime < limit

        self._remove(is_old)

    def _verified(self, digest: str, download: Callable[[Path], Path] | None) -> Path:
        cached = self.directory / digest
        if cached.is_dir():
            if artifact_digest(cached) == digest:
                return cached
            shutil.rmtree(cached)
        if download is None:
            raise VersionRefused("its artifact is not on this machine any more")
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.directory))
        try:
            downloaded = download(incoming)
            actual = artifact_digest(downloaded)
            if actual != digest:
                raise VersionRefused(
                    f"its artifact is not what was registered: digest {actual}, registered was {digest}; "
                    "it was not loaded. Find out who changed it, and register the model anew"
                )
            return downloaded.rename(cached)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _remove(self, is_old: Callable[[Path], bool]) -> None:
        try:
            with _locked(self.directory / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
                for path in self.directory.iterdir():
                    if not is_old(path):
                        continue
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)
        except BlockingIOError:
            return


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, how)
        yield
