"""Where a person's own files land."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion import land
from pipelines.project import Project

REPO = Path(__file__).resolve().parents[3]


class Bucket:
    """An object store that keeps what it is given."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:
        self.objects[Key] = Body

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(land, "client", lambda _: made)
    return made


@pytest.fixture
def streams(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Declare the connection `shop` with these streams and what each reads."""
    shutil.copytree(REPO / "airbyte/destinations", repo / "airbyte/destinations")
    for name in ("WAREHOUSE_HOST", "WAREHOUSE_PORT", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANDING_BUCKET", "landing")

    def declare(globs: dict[str, str]) -> None:
        sample = yaml.safe_load((REPO / "airbyte/sources/landing.yaml").read_text()) | {"resource_name": "shop"}
        form = {"filetype": "csv"}
        sample["configuration"]["streams"] = [
            {"name": name, "globs": [glob], "format": form} for name, glob in globs.items()
        ]
        connection = yaml.safe_load((REPO / "airbyte/connections/nycflights.yaml").read_text())
        stream = connection["streams"][-1] | {"primary_key": ["id"], "columns": {"id": "string"}, "required": []}
        connection |= {
            "resource_name": "shop",
            "source": "shop",
            "streams": [stream | {"name": name} for name in globs],
        }
        for kind, content in (("sources", sample), ("connections", connection)):
            (repo / "airbyte" / kind).mkdir(exist_ok=True)
            (repo / "airbyte" / kind / "shop.yaml").write_text(yaml.safe_dump(content))

    return declare


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "may.csv"
    path.write_text("id\n1\n")
    return str(path)


@pytest.fixture
def landed(
    env: Environment, project: Project, bucket: Bucket, streams: Callable[[dict[str, str]], None], file: str
) -> Callable[[dict[str, str], str | None], tuple[dict[str, Any], Bucket]]:
    """Land the file as one of `stream`; the result, and what is in the bucket then."""

    def call(globs: dict[str, str], stream: str | None) -> tuple[dict[str, Any], Bucket]:
        streams(globs)
        return land.run(env, project, files=[file], stream=stream), bucket

    return call


@pytest.mark.parametrize(
    ("globs", "stream", "key"),
    [
        ({"orders": "shop/*.csv"}, None, "shop/may.csv"),
        ({"orders": "shop/orders/*.csv"}, None, "shop/orders/may.csv"),
        ({"orders": "shop/orders/*.csv", "items": "shop/items/*.csv"}, "items", "shop/items/may.csv"),
    ],
)
def test_a_file_lands_where_its_stream_is_read(landed: Any, globs: Any, stream: Any, key: str) -> None:
    result, bucket = landed(globs, stream)
    assert result["files"] == [key]
    assert bucket.objects == {key: b"id\n1\n"}


@pytest.mark.parametrize(
    ("globs", "stream", "message"),
    [
        ({"orders": "shop/a/*.csv", "items": "shop/b/*.csv"}, None, "there are several streams"),
        ({"orders": "shop/a/*.csv"}, "order", "there is no stream order"),
        ({"orders": "elsewhere/*.csv"}, None, "which is not below shop/"),
    ],
)
def test_a_file_without_a_place_is_refused(landed: Any, bucket: Bucket, globs: Any, stream: Any, message: str) -> None:
    with pytest.raises(StepError, match=message):
        landed(globs, stream)
    assert not bucket.objects


def test_either_files_or_months(env: Environment, project: Project, bucket: Bucket, file: str) -> None:
    with pytest.raises(StepError, match="nothing to land"):
        land.run(env, project)
    with pytest.raises(StepError, match="both are given"):
        land.run(env, project, [1], files=[file])
