"""The server that tests and benchmarks run on: a process of its own over a registry that is a directory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import sample_models
from tools.model_server import ModelServer
from tools.registry_directory import DirectoryRegistry, RegistryFile


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("samples")
    for kind in ("strings", "tensor"):
        sample_models.write(kind, directory / kind)
    return directory


@pytest.fixture
def server(samples: Path, tmp_path: Path) -> Iterator[ModelServer]:
    made = ModelServer(tmp_path)
    for kind in ("strings", "tensor"):
        made.add_version(kind, samples / kind / "model", expected(samples, kind)["tags"], "champion")
    with made:
        yield made
    assert not made.running


def expected(samples: Path, kind: str) -> dict:
    return json.loads((samples / kind / "expected.json").read_text())


def test_it_answers_what_the_models_say_and_follows_their_aliases(server: ModelServer, samples: Path) -> None:
    for kind in ("strings", "tensor"):
        known = expected(samples, kind)
        answer = server.call("POST", f"/models/{kind}/predict", {"records": known["records"]})
        assert answer.status == 200, answer.body
        assert [item["prediction"] for item in answer.json()["predictions"]] == known["predictions"]
    second = server.add_version("strings", samples / "strings" / "model")
    server.set_alias("strings", "champion", second)
    server.wait(lambda: server.served("strings") == {"champion": second}, "version 2 serves")


def test_it_comes_back_after_a_crash_with_its_port_and_its_keys(server: ModelServer) -> None:
    url, pid = server.url, server.pid
    assert server.kill() == -9
    with pytest.raises(OSError):
        server.call("GET", "/healthz")
    server.start()
    assert server.url == url
    assert server.pid != pid
    assert server.served("strings") == {"champion": 1}


def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    server = ModelServer(tmp_path, {"SERVING_JOURNAL_DURABILITY": "some"})
    with pytest.raises(RuntimeError, match="SERVING_JOURNAL_DURABILITY"):
        server.start()


def test_a_tag_can_be_set_and_taken_away(tmp_path: Path) -> None:
    file = RegistryFile(tmp_path)
    with file.change() as content:
        content["m"] = {"aliases": {}, "versions": {"1": {"path": "/m", "run_id": "r", "tags": {"a": "1"}}}}
    registry = DirectoryRegistry(tmp_path)
    registry.set_tag("m", 1, "b", "2")
    registry.delete_tag("m", 1, "a")
    assert registry.version("m", 1).tags == {"b": "2"}
