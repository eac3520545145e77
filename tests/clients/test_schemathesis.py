"""The calls that the OpenAPI document tells of: with data that fit it, with data that do not, with any bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from tools.model_server import Answer, ModelServer

CONFIG = Path(__file__).with_name("schemathesis.toml")
SCORED = ("typed", "tensor", "regression")
CALLS = ("/models/{}/predict", "/models/{}/invocations", "/models/{}/feedback", "/v2/models/{}/infer")


@pytest.fixture(scope="session")
def api(server: ModelServer) -> Any:
    key = {"Authorization": f"Bearer {server.keys['admin']}"}
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=key)


def test_every_call_answers_as_the_document_says(server: ModelServer, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    key = f"Authorization: Bearer {server.keys['admin']}"
    config = shutil.copy(CONFIG, tmp_path)  # it leaves files beside its configuration
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run"]
    command += [f"{server.url}/openapi.json", "--header", key, "--report-json-path", report]
    path = {"PYTHONPATH": str(CONFIG.parent)}
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    found = json.loads(report.read_text())
    assert found["test_cases"]["generated"] > 1000
    for kind, call in product(SCORED, CALLS):
        examples = found["valid_rates"][f"POST {call.format(kind)}"]["examples"]
        assert examples["accepted"] > 0 and not examples["rejected"], f"{kind}, {call}: the document's examples work"


def test_the_document_is_openapi(api: Any) -> None:
    assert api.raw_schema["openapi"].startswith("3.1.")
    api.validate()


def broken_bodies() -> list[bytes]:
    chance = random.Random(3)  # noqa: S311 - no secret
    deep = 100_000
    return [
        b"",
        b"null",
        b"[" * deep,
        b"[" * deep + b"]" * deep,
        b'{"records":' * deep,
        b'{"records":' + b'[{"x":' * deep + b"1" + b"}]" * deep + b"}",
        b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":' + b"[" * deep + b"]" * deep + b"}]}",
        b'{"records":[' + b"1e999," * 1000 + b"1]}",
        b'{"records":[{"real":' + b"9" * 10_000 + b"}]}",
        b'{"records":["\\ud800"]}',
        b'{"\\u0000":1}',
        "{}".encode("utf-16"),
        b"\xff\xfe\xfd",
        b"PAR1" * 100,
        b"ARROW1\0\0" * 10,
        *(chance.randbytes(size) for size in (1, 7, 300, 70_000)),
    ]


def test_no_bytes_are_a_server_error(server: ModelServer, api: Any) -> None:
    document = api.raw_schema
    answers: dict[tuple[str, str, int], Answer] = {}
    for path, operations in document["paths"].items():
        if "{" in path or "post" not in operations:
            continue
        for media_type in operations["post"]["requestBody"]["content"]:
            for number, body in enumerate(broken_bodies()):
                sent = {"Content-Type": media_type}
                answers[path, media_type, number] = server.call("POST", path, body, key="admin", headers=sent)
    assert len(answers) > 500
    wrong = {
        place: answer.body[:200]
        for place, answer in answers.items()
        if not 400 <= answer.status < 500 and not place[0].endswith("/index")
    }
    assert not wrong
    assert all(answer.status < 500 and answer.json() is not None for answer in answers.values())
