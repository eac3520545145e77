"""Step ``land``: put the sample's files into the landing bucket, as a partner's export would."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.objects import client, s3_errors
from pipelines.progress import say
from pipelines.project import Project

Land = Callable[[Sequence[int]], Iterable[tuple[str, bytes]]]


def run(env: Environment, project: Project, months: Sequence[int], force: bool = False) -> dict[str, Any]:
    """Land the files of `months`; a file that is there already with the same content is written only if `force`.

    Returns ``{"files": [keys written], "unchanged": n}``.
    """
    s3 = client(env)
    written: list[str] = []
    unchanged = 0
    with s3_errors(f"s3://{env.landing_bucket}"):
        present = {} if force else _etags(s3, env.landing_bucket, f"{project.name}/")
        for name, content in _project_land(project)(months):
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
