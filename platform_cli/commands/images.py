"""`platform images`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.docker.archive import load as load_archive
from platform_cli.docker.archive import save as save_archive
from platform_cli.docker.build import OURS, Builder, Present, check_disk, plan, present
from platform_cli.docker.engine import Engine
from platform_cli.docker.images import Image, recipe, stack_images, with_bases
from platform_cli.errors import PlatformError
from platform_cli.home import find_home
from platform_cli.local.progress import Progress
from platform_cli.output import err, out
from platform_cli.stack.settings import load_settings

BUILD = "platform images build"
OLDER = "another state of this checkout"

app = typer.Typer(no_args_is_help=True, help="Build the images of the stack, and move them to another machine.")


@app.command("build")
def build(
    from_packages: Annotated[
        bool,
        typer.Option("--from-packages", help="Also make upstream's images, from Debian's and PyPI's packages."),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="From nothing, with the packages of today.")] = False,
) -> None:
    """Build the platform's images. What has not changed is not built again."""
    began = time.monotonic()
    engine, home, settings = Engine.find(), find_home(), load_settings(find_home())
    images = _wanted(settings)
    bases = [base for image in images if image.build is not None for base in image.build.bases()]
    there = present(engine, sorted({image.name for image in images} | set(with_bases(bases))))
    planned = plan(images, there, from_packages=from_packages, fresh=fresh)
    if fresh or any(step.name not in there for step in planned.steps):
        check_disk(engine, int(settings["PREFLIGHT_BUILD_DISK_MB"]))
    home.make()
    with home.exclusively(), Progress(err) as progress:
        Builder(engine, home, progress, fresh=fresh).run(planned.steps)
        for name in planned.unmakeable:
            progress.end(name, "not made", detail="there is no recipe for it: `docker pull` gets it, from a registry")
    err.print(f"{len(planned.steps)} images are built, after {time.monotonic() - began:.0f} s.")


@app.command("save")
def save(
    file: Annotated[Path, typer.Argument(help="The file to write: a tar.gz that `docker load` takes too.")],
) -> None:
    """Write all images that the stack runs into one file, for a machine without a registry."""
    began = time.monotonic()
    engine, settings = Engine.find(), load_settings(find_home())
    images = _wanted(settings)
    there = present(engine, [image.name for image in images])
    missing = [f"{image.name}: {_how_to_get(image)}" for image in images if image.name not in there]
    older = [f"{image.name}: {BUILD}" for image in images if _origin(image, there.get(image.name)) == OLDER]
    for what, found in (("is not complete", missing), ("was built from another state of this checkout", older)):
        if found:
            listed = "\n".join(f"  - {entry}" for entry in found)
            raise PlatformError(f"the set {what}; nothing was written:\n{listed}")
    size = save_archive(engine, [image.name for image in images], there, file)
    err.print(f"{len(images)} images are in {file}: {size / 1e6:.0f} MB, after {time.monotonic() - began:.0f} s.")
    err.print(f"On the other machine: [bold]platform images load {file.name}[/]")


@app.command("load")
def load(file: Annotated[Path, typer.Argument(help="What `save` has written.")]) -> None:
    """Take the images of a file into the engine."""
    began = time.monotonic()
    index = load_archive(Engine.find(), file)
    for entry in index.images:
        err.print(f"[green]✓[/] {entry.name:<44} {entry.size / 1e6:>6.0f} MB", highlight=False)
    err.print(f"{len(index.images)} images are loaded, after {time.monotonic() - began:.0f} s.")


@app.command("list")
def list_images(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the images of the stack: which are there, how large, and where they come from."""
    settings = load_settings(find_home())
    images = stack_images(settings)
    there = present(Engine.find(), [image.name for image in images])
    rows = [_row(image, there.get(image.name), _profiles(settings)) for image in images]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("IMAGE", "SIZE", "FROM", ""):
        table.add_column(title, no_wrap=True, justify="right" if title == "SIZE" else "left")
    for row in rows:
        size = f"{int(row['size'] or 0) / 1e6:.0f} MB" if row["size"] else ""
        # a digest would leave no room for the rest
        table.add_row(str(row["image"]).partition("@")[0], size, str(row["from"]), str(row["note"]))
    out.print(table)


def _row(image: Image, made: Present | None, profiles: list[str]) -> dict[str, str | int | None]:
    note = ""
    if not image.wanted(profiles):
        note = f"only with the profile {' or '.join(sorted(image.profiles))}"
    elif made is None:
        note = _how_to_get(image)
    return {"image": image.name, "size": made.size if made else None, "from": _origin(image, made), "note": note}


def _origin(image: Image, made: Present | None) -> str:
    if made is None:
        return "missing"
    if image.build is not None and made.is_older_than(image.build):
        return OLDER
    return "this checkout" if made.origin == OURS else made.origin


def _how_to_get(image: Image) -> str:
    if image.build is not None:
        return BUILD
    pull = f"docker pull {image.name}"
    if recipe(image.name) is None:
        return f"{pull} (it cannot be made from packages)"
    return f"{pull}, or without a registry platform images build --from-packages"


def _wanted(settings: Mapping[str, str]) -> list[Image]:
    return [image for image in stack_images(settings) if image.wanted(_profiles(settings))]


def _profiles(settings: Mapping[str, str]) -> list[str]:
    """As Compose has them: its own variable, before the setting of that name."""
    return (os.environ.get("COMPOSE_PROFILES") or settings.get("COMPOSE_PROFILES", "")).split(",")
