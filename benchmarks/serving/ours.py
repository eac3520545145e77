"""Measures this project's model server with all that it does in the stack: keys, checked input, metrics, a canary that
gets a tenth of the requests, and the journal, which is shipped to a PostgreSQL meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.case import ReadAnswers, Record, Sample, WriteBody
from benchmarks.serving.foreign import measure_cases
from benchmarks.serving.load import Load
from benchmarks.serving.peers import first_output, tensor_body
from benchmarks.serving.processes import process
from benchmarks.serving.table import Line, Side
from benchmarks.serving.target import Target
from contract import ALIAS_CANARY, ALIAS_CHAMPION, CANARY_SHARE_TAG
from platform_cli.home import REPO, Home
from tools.model_server import ModelServer
from tools.postgres import Postgres

_CANARY_PERCENT = "10"


@dataclass(frozen=True)
class Variant:
    """One way to call the server. It is called `name` in the lines of progress."""

    name: str
    title: str
    model: str
    path: str
    body: WriteBody
    answers: ReadAnswers
    side: Side = Side.VARIANT
    durability: str = "relaxed"


def _records(records: Sequence[Record]) -> Any:
    return {"records": records}


def _predictions(answer: Any) -> Sequence[Any]:
    return [item["prediction"] for item in answer["predictions"]]


_PREDICT = ("/models/{}/predict", _records, _predictions)
_INFER = ("/v2/models/{}/infer", tensor_body, first_output)
VARIANTS = (
    Variant("ours", "this server, `/models/{m}/predict`", "numeric", *_PREDICT, side=Side.MAIN),
    Variant("ours-v2", "this server, `/v2/models/{m}/infer`", "numeric", *_INFER),
    Variant("ours-mixed", "this server, `/models/{m}/predict`", "mixed", *_PREDICT, side=Side.MAIN),
    Variant("ours-strict", "this server, journal `strict`", "numeric", *_PREDICT, durability="strict"),
)


def measure(home: Home, python: Path, samples: Mapping[str, Sample], load: Load, scratch: Path) -> list[Line]:
    """Measure every variant: one server for each durability, in the environment of `python`.

    Raises:
        WrongServer: its answers are not the model's.
    """
    lines = []
    with Postgres(home.envs) as postgres:
        for durability in dict.fromkeys(variant.durability for variant in VARIANTS):
            with _server(python, durability, samples, scratch / durability, postgres) as server:
                headers = {"Authorization": f"Bearer {server.keys['client']}"}
                for variant in VARIANTS:
                    if variant.durability == durability:
                        url = server.url + variant.path.format(variant.model)
                        target = Target(url, samples[variant.model], variant.body, variant.answers, headers)
                        figures = measure_cases(variant.name, target, load)
                        lines.append(Line(variant.title, variant.side, variant.model, figures))
        shipped = int(postgres.query("SELECT count(*) FROM predictions"))
    print(f"{'':<16} {shipped:,} predictions were in PostgreSQL at the end", file=sys.stderr, flush=True)
    return lines


@contextmanager
def _server(
    python: Path, durability: str, samples: Mapping[str, Sample], directory: Path, postgres: Postgres
) -> Iterator[ModelServer]:
    settings = {"SERVING_JOURNAL_DURABILITY": durability, "SERVING_POLL_SECONDS": "1"}
    server = ModelServer(directory, settings, python)
    for name, sample in samples.items():
        server.add_version(name, sample.model, sample.tags, ALIAS_CHAMPION)
        server.add_version(name, sample.model, sample.tags | {CANARY_SHARE_TAG: _CANARY_PERCENT}, ALIAS_CANARY)
    variables = {"PYTHONPATH": str(REPO), "PREDICTIONS_URL": postgres.url(), "SERVING_DATA_DIR": str(server.data)}
    shipper = [str(python), "-m", "serving.journal"]
    with server, process(shipper, variables, directory / "shipper.log", REPO):
        server.wait(lambda: all(len(server.served(name)) == 2 for name in samples), "champions and canaries serve")
        print(f"{'':<16} computed by: {_engines(server)}", file=sys.stderr, flush=True)
        yield server


def _engines(server: ModelServer) -> str:
    found = server.call("GET", "/models").json()["models"]
    return ", ".join(f"{model['name']} {model['versions'][0]['computed_by']}" for model in found)
