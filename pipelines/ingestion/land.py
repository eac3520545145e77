"""Step ``land``: put files into the landing bucket, as a partner's export would: a person's own, or the sample's."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.connections import project_connections
from pipelines.objects import client, s3_errors
from pipelines.progress import say
from pipelines.project import Project

Land = Callable[[Sequence[int]], Iterable[tuple[str, bytes]]]


def run(
    env: Environment,
    project: Project,
    months: Sequence[int] | None = None,
    *,
    files: Sequence[str] = (),
    stream: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Land `files` where `stream` is read from, or those that the project's ``land.py`` makes of `months`; a file that
    is there already with the same content is written only if `force`.

    Returns ``{"files": [keys written], "unchanged": n}``.
    """
    if bool(months) == bool(files):
        raise StepError("nothing to land" if not files else "both are given", do="give either --file, or --months")
    landing = _project_land(project)(months) if months else _own_files(_directory(env, project, stream), files)
    s3 = client(env)
    written: list[str] = []
    unchanged = 0
    with s3_errors(f"s3://{env.landing_bucket}"):
        present = {} if force else _etags(s3, env.landing_bucket, f"{project.name}/")
        for name, content in landing:
            key = f"{project.name}/{name}"
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if present.get(key) == digest:
                unchanged += 1
                continue
            rows = str(content.count(b"\n") - 1)
            s3.put_object(Bucket=env.landing_bucket, Key=key, Body=content, Metadata={"rows": rows})
            written.append(key)
            say(f"  s3://{env.landing_bucket}/{key}: {rows} rows")
    return {"files": written, "unchanged": unchanged}


def _own_files(directory: str, files: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        yield f"{directory}{Path(file).name}", Path(file).read_bytes()


def _directory(env: Environment, project: Project, stream: str | None) -> str:
    """Where below the project's name the files of `stream` land; StepError if it is not clear which stream is meant."""
    globs = {
        item.name: connection.source_stream(item).globs[0]
        for connection in project_connections(env, project)
        for item in connection.streams
    }
    if not globs:
        raise StepError("the project has no connection", where=str(project.file), do="declare one in data.connections")
    name = stream or (next(iter(globs)) if len(globs) == 1 else None)
    if name not in globs:
        raise StepError(
            f"there is no stream {name}" if name else "there are several streams",
            where=", ".join(project.data.connections),
            do=f"give --stream: {', '.join(globs)}",
        )
    parent = str(PurePosixPath(globs[name]).parent)
    if parent != project.name and not parent.startswith(f"{project.name}/"):
        raise StepError(
            f"the stream {name} reads {globs[name]}, which is not below {project.name}/",
            where=", ".join(project.data.connections),
            do="put the file there with any S3 client (`platform credentials seaweedfs`)",
        )
    return f"{parent}/".removeprefix(f"{project.name}/")


def _project_land(project: Project) -> Land:
    """The function ``land`` of the project's ``land.py``."""
    path = project.directory / "land.py"
    spec = importlib.util.spec_from_file_location(f"projects.{project.name}.land", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise StepError(
            "this project has no land.py, so it has no files of its own to land",
            where=f"projects/{project.name}",
            do=f"put files into the landing bucket below {project.name}/, then start `ingest`",
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    land: Land = module.land
    return land


def _etags(s3: Any, bucket: str, prefix: str) -> dict[str, str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", [])}
