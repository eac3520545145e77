"""Builds images: ours with Compose from their Dockerfiles, upstream's from packages by their recipes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.docker.images import Build, Image, full_name, recipe, recipe_build, tag_of, with_bases
from platform_cli.docker.lent import Lent, lent
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home
from platform_cli.local.progress import Progress

PROJECT = "mlops-images"
ORIGIN = "io.mlops-platform.made-from"
"""The label that says where an image of ours comes from; what was pulled has none."""
RECIPE = "io.mlops-platform.recipe"
SOURCES = "io.mlops-platform.sources"
"""The label of an image of ours with the digest of what of the checkout it was built from."""
OURS, PACKAGES = "checkout", "packages"
TAIL_LINES = 20
MEGABYTE = 1 << 20
_ADVICE = (
    (r"no space left on device|disk quota exceeded", "free some disk where the engine keeps its images (`docker system "
     "prune`, `docker builder prune`), then run it again: what is built already is kept"),
    (r"/v2/\S+/manifests/|failed to resolve source metadata|pull access denied",
     "no registry gives the image that it begins from: `platform images build --from-packages` makes it without one"),
    (r"certificate verify failed|UnknownIssuer|self.signed certificate",
     "name the certificates that this machine trusts in SSL_CERT_FILE, then run it again"),
    (r"Temporary failure (in name resolution|resolving)|Could not resolve|Network is unreachable|dns error",
     "the engine's builds reach no package registry: see to its network (a proxy? HTTPS_PROXY), then run it again"),
)  # fmt: skip


@dataclass(frozen=True)
class Present:
    """An image that the engine has. `size` is in bytes; layers that images share count in each."""

    id: str
    layers: str
    """What is in it, as a digest: the same wherever it is loaded, which the engine's own id is not."""
    size: int
    architecture: str
    labels: Mapping[str, str]

    @property
    def origin(self) -> str:
        """`checkout`, `packages`, or `upstream`."""
        return self.labels.get(ORIGIN, "upstream")

    def is_older_than(self, build: Build) -> bool:
        """Whether the image was built by the platform, from another state of the checkout than this one."""
        return self.origin == OURS and self.labels.get(SOURCES) != build.digest()


@dataclass(frozen=True)
class Step:
    """An image to be made: by a Dockerfile, or (`build` is None) by the script that writes its file system."""

    name: str
    build: Build | None
    origin: str

    @property
    def bases(self) -> list[str]:
        """The images that it begins from."""
        return self.build.bases() if self.build is not None else []

    @property
    def rootfs(self) -> Path:
        """The script, where there is no Dockerfile."""
        file = recipe(self.name)
        assert file is not None  # noqa: S101 - a step without a build is made of one
        return file


@dataclass(frozen=True)
class Plan:
    """What is to be made, in order, and the upstream images that are missing and that no recipe makes."""

    steps: tuple[Step, ...]
    unmakeable: tuple[str, ...]


def present(engine: Engine, names: Iterable[str]) -> dict[str, Present]:
    """Those of these images that the engine has."""
    asked = list(names)
    found = json.loads(engine.run("image", "inspect", *asked, check=False).stdout or "[]") if asked else []
    images: dict[str, Present] = {}
    for entry in found:
        labels = (entry.get("Config") or {}).get("Labels") or {}
        layers = hashlib.sha256(json.dumps(entry["RootFS"].get("Layers")).encode()).hexdigest()
        made = Present(entry["Id"], layers, entry["Size"], entry["Architecture"], labels)
        tags = {full_name(tag) for tag in [*(entry["RepoTags"] or ()), *(entry["RepoDigests"] or ())]}
        images |= {name: made for name in asked if full_name(name) in tags}
    return images


def plan(images: Sequence[Image], there: Mapping[str, Present], *, from_packages: bool, fresh: bool) -> Plan:
    """What `build` does. An upstream image that was pulled stays as it is.

    Args:
        images: those that the stack wants.
        there: those the engine has, of `images` and of what they begin from.
        from_packages: also make upstream's, and what ours begin from.
        fresh: make everything anew.
    """
    ours = tuple(Step(image.name, image.build, OURS) for image in images if image.build is not None)
    if not from_packages:
        return Plan(ours, ())
    bases = [base for step in ours for base in step.bases]
    steps, unmakeable = [], []
    for name in with_bases([*bases, *(image.name for image in images if image.build is None)]):
        if name in there and there[name].origin != PACKAGES:
            continue
        file = recipe(name)
        if file is None:
            unmakeable.append(name)
        elif file.name == "Dockerfile":
            steps.append(Step(name, recipe_build(name, file), PACKAGES))
        elif fresh or name not in there or there[name].labels.get(RECIPE) != _digest(file):
            steps.append(Step(name, None, PACKAGES))
    return Plan((*steps, *ours), tuple(unmakeable))


def build_model(step: Step, build: Build, lent: Lent) -> dict[str, Any]:
    """The Compose model of one service whose image is this one."""
    section: dict[str, Any] = {
        "context": str(build.context),
        "dockerfile": str(build.dockerfile),
        "args": {**lent.arguments, **build.arguments},
        "labels": {ORIGIN: step.origin, SOURCES: build.digest()},
        "secrets": sorted(lent.secrets),
    }
    if build.target:
        section["target"] = build.target
    return {
        "services": {"image": {"image": step.name, "build": section}},
        "secrets": {name: {"file": str(file)} for name, file in lent.secrets.items()},
    }


def check_disk(engine: Engine, needed_mb: int) -> None:
    """Whether the engine's disk has room, where it is a disk of this machine.

    Raises:
        PlatformError: it has not.
    """
    root = engine.data_root
    if engine.socket is None or not root.exists():
        return
    free = shutil.disk_usage(root).free // MEGABYTE
    if free < needed_mb:
        raise PlatformError(
            f"{free} MB of disk are free where the engine keeps its images, about {needed_mb} MB are needed; "
            "nothing was changed",
            where=str(root),
            do="free some (`docker system prune` removes what no container uses), or move it (data-root in "
            "/etc/docker/daemon.json)",
        )


class Builder:
    """Makes images, as many at a time as there are cores; the output of each goes to a log of its own."""

    def __init__(self, engine: Engine, home: Home, progress: Progress, *, fresh: bool = False) -> None:
        self.engine = engine
        self.home = home
        self.progress = progress
        self.fresh = fresh

    def run(self, steps: Collection[Step]) -> None:
        """Make them all, each after those that it begins from. After a failure no other is begun.

        Raises:
            PlatformError: one could not be made; carries the end of its log.
        """
        waiting, running = list(steps), dict[Future[None], Step]()
        with lent(self.home.state / "lent") as loan, ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                while waiting or running:
                    unmade = {full_name(step.name) for step in (*waiting, *running.values())}
                    ready = [step for step in waiting if unmade.isdisjoint(step.bases)]
                    waiting = [step for step in waiting if step not in ready]
                    running |= {pool.submit(self._make, step, loan): step for step in ready}
                    for made in wait(running, return_when=FIRST_COMPLETED).done:
                        del running[made]
                        made.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _make(self, step: Step, loan: Lent) -> None:
        log = self.home.log_of(f"image-{re.sub(r'[^a-z0-9.-]+', '-', step.name)}")
        before = present(self.engine, [step.name]).get(step.name)
        self.progress.begin(step.name, "building")
        try:
            with log.open("w", buffering=1) as out:
                if step.build is None:
                    self._import(step, out)
                else:
                    self._build(build_model(step, step.build, loan), out)
        except (DockerFailed, subprocess.CalledProcessError):
            text = log.read_text(errors="replace")
            self.progress.end(step.name, "failed")
            raise PlatformError(
                f"the image {step.name} could not be built",
                where=str(log),
                do=advice(text),
                detail="\n".join(text.rstrip().splitlines()[-TAIL_LINES:]),
            ) from None
        made = present(self.engine, [step.name])[step.name]
        if before is not None and before.id != made.id:
            # unless it has another name, or a container that is made of it
            self.engine.run("image", "rm", before.id, check=False)
        self.progress.end(step.name, "built", detail=f"{made.size / 1e6:.0f} MB")

    def _build(self, model: Mapping[str, Any], out: Any) -> None:
        # Compose would read a variable in it
        text = json.dumps(model).replace("$", "$$")
        words = ["compose", f"--project-name={PROJECT}", f"--project-directory={REPO}", "--progress=plain", "--file=-"]
        for line in self.engine.stream(*words, "build", *(["--no-cache"] if self.fresh else []), "image", input=text):
            out.write(f"{line}\n")

    def _import(self, step: Step, out: Any) -> None:
        with TemporaryDirectory(dir=self.home.state) as scratch:
            archive = Path(scratch) / "rootfs.tar"
            script = [str(step.rootfs), tag_of(step.name), str(archive)]
            subprocess.run(script, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=True)
            changes = ["CMD [\"bash\"]", f"LABEL {ORIGIN}={step.origin} {RECIPE}={_digest(step.rootfs)}"]  # fmt: skip
            options = [f"--change={change}" for change in changes]
            for line in self.engine.stream("import", *options, str(archive), step.name):
                out.write(f"{line}\n")


def advice(log: str) -> str:
    """What to do about a build that ended with this log."""
    for pattern, what in _ADVICE:
        if re.search(pattern, log, re.IGNORECASE):
            return what
    return "read the lines above; run it again when the cause is gone: what is built already is kept"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
