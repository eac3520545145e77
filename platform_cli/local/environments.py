"""The locked environments of the components: one directory each under PLATFORM_HOME/envs, made by uv.

An environment is whole if its stamp, written last, names the lock it was made from and the entries it had then, and
these are still there. Anything else (a new lock, an interrupted installation, a package deleted by hand, an interpreter
that is gone) is remade from nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import REPO, Home

STAMP = ".stamp.json"
COMPOSE = REPO / "compose"
ON_DEMAND = frozenset({"code-server", "notebooks", "spark", "workspace"})
"""Those that no service runs from and that only some people or projects use: installed when somebody asks for them."""
OPTIONAL = frozenset({"code-server"})
"""Those of them that not every machine can have: what runs from them is left out there."""
LOCK, SCRIPT = "requirements.txt", "install.sh"


@dataclass(frozen=True)
class Environment:
    """One environment: `requirements.txt` (a lock) in its component's directory says what is in it, or `install.sh`
    makes it, or the script adds to what the lock brought."""

    name: str
    recipes: tuple[Path, ...]
    directory: Path

    @property
    def size(self) -> int:
        """How much its recipes say, in bytes: more where there is more to install."""
        return sum(recipe.stat().st_size for recipe in self.recipes)

    @property
    def wanted(self) -> bool:
        """Whether `up` sees to it: what is on demand is kept current once it was asked for."""
        return self.name not in ON_DEMAND or self.directory.is_dir()

    @property
    def digest(self) -> str:
        """Changes when a recipe or the interpreter does."""
        text = (
            b"".join(recipe.read_bytes() for recipe in self.recipes)
            + f"{sys.version_info[:3]} {interpreter()}".encode()
        )
        return hashlib.sha256(text).hexdigest()

    def whole(self) -> bool:
        """Whether the environment is installed from the present recipes and nothing of it is missing."""
        try:
            stamp = json.loads((self.directory / STAMP).read_text())
        except (OSError, ValueError):
            return False
        return stamp["digest"] == self.digest and stamp["entries"] == self._entries()

    def stamp(self) -> None:
        """Note that the environment is whole."""
        text = json.dumps({"digest": self.digest, "entries": self._entries()})
        scratch = self.directory / f"{STAMP}.new"
        scratch.write_text(text)
        scratch.replace(self.directory / STAMP)

    def _entries(self) -> list[str]:
        """The packages and programs of the environment, and whether its interpreter is there."""
        found = []
        for directory in sorted([self.directory / "bin", *self.directory.glob("lib/python3*/site-packages")]):
            for entry in os.scandir(directory) if directory.is_dir() else []:
                # a link whose target is gone (an interpreter that was upgraded) does not exist
                if entry.name != "__pycache__" and Path(entry.path).exists():
                    filled = not entry.is_dir() or any(os.scandir(entry.path))
                    found.append(f"{directory.name}/{entry.name}" + ("" if filled else " (empty)"))
        return sorted(found)


def environments(home: Home) -> dict[str, Environment]:
    """Every environment that the components declare, by name."""
    found = {}
    for directory in sorted(COMPOSE.iterdir()):
        recipes = tuple(directory / name for name in (LOCK, SCRIPT) if (directory / name).exists())
        if recipes:
            found[directory.name] = Environment(directory.name, recipes, home.envs / directory.name)
    return found


def chosen(found: Mapping[str, Environment], names: Collection[str]) -> dict[str, Environment]:
    """Those of `found` with these `names`; without names those that `up` installs.

    Raises:
        UsageError: a name is not among them.
    """
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise UsageError(f"there is no environment {', '.join(unknown)}", do=f"there are: {', '.join(sorted(found))}")
    return {name: made for name, made in found.items() if (name in names if names else made.wanted)}


def interpreter() -> str:
    """The interpreter that environments are made from: the one below the command's own environment. A link to it is
    followed, since services of another user must be able to run it."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}").resolve())


def install(environment: Environment, log: Path) -> None:
    """Make the environment anew; whatever was there is removed first.

    Raises:
        PlatformError: the installation failed; carries the end of its output.
    """
    shutil.rmtree(environment.directory, ignore_errors=True)
    commands = [command for recipe in environment.recipes for command in _commands(recipe, environment.directory)]
    variables = {"UV_LINK_MODE": _link_mode(environment.directory), **os.environ}
    for command in commands:
        with log.open("w") as out:
            done = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, env=variables, cwd=REPO, umask=0o022, check=False
            )
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise PlatformError(
                f"the environment {environment.name} could not be installed",
                where=str(log),
                do="read the lines above; run `platform up` again when the cause is gone",
                detail=tail,
            )
    environment.stamp()


def _commands(recipe: Path, directory: Path) -> list[list[str]]:
    """What carries out a recipe."""
    if recipe.name == SCRIPT:
        return [["bash", str(recipe), str(directory)]]
    python, uv = directory / "bin" / "python", str(Path(sys.executable).with_name("uv"))
    return [
        [uv, "venv", "--quiet", "--python", interpreter(), str(directory)],
        # Python compiles what it imports: all the files would take ten times as long, and most are never imported.
        [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "--requirement", str(recipe)],
    ]


def _link_mode(directory: Path) -> str:
    """Hard links from uv's cache where it is on the same file system, else copies (without uv's warning)."""
    cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache"))
    near = next(parent for parent in [cache, *cache.parents] if parent.exists())
    target = next(parent for parent in [directory, *directory.parents] if parent.exists())
    return "hardlink" if near.stat().st_dev == target.stat().st_dev else "copy"
