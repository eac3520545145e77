"""The servers that the model server is compared with: how each is started, and what it is sent and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.serving.case import ReadAnswers, Record, WriteBody
from platform_cli.home import REPO

DIRECTORY = REPO / "benchmarks" / "peers"
"""A directory for each environment: its lock, and the applications that run in it."""


@dataclass(frozen=True)
class Peer:
    """One server. In `command` and `variables`, `{bin}` is where its environment's programs are, `{here}` its directory
    in the repository, `{model}` MLflow's model directory, `{joblib}` the pickled estimator, `{port}` its port,
    `{port2}` and `{port3}` further ones, `{scratch}` a directory for its files."""

    name: str
    title: str
    env: str
    command: tuple[str, ...]
    body: WriteBody
    answers: ReadAnswers
    path: str = "/predict"
    model: str = "numeric"
    floor: bool = False
    package: str = ""
    """What the version is that of; default: the environment's own name."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def full_title(self) -> str:
        """The title with the version from the lock."""
        package = self.package or self.env
        lock = (DIRECTORY / self.env / "requirements.txt").read_text()
        found = re.search(rf"^{re.escape(package)}(?:\[[^\]]*\])?==([^ ;\\]+)", lock, re.MULTILINE)
        if found is None:
            raise LookupError(f"{package} is not in the lock of {self.env}")
        return self.title.format(version=found[1])


def rows_body(records: Sequence[Record]) -> Any:
    """What our own applications around other servers take."""
    return {"rows": [list(record.values()) for record in records]}


def split_body(records: Sequence[Record]) -> Any:
    """MLflow's `dataframe_split`."""
    return {"dataframe_split": {"columns": list(records[0]), "data": [list(record.values()) for record in records]}}


def tensor_body(records: Sequence[Record]) -> Any:
    """The Open Inference Protocol's request: the rows as one tensor."""
    flat = [value for record in records for value in record.values()]
    shape = [len(records), len(records[0])]
    return {"inputs": [{"name": "input-0", "shape": shape, "datatype": "FP64", "data": flat}]}


def predictions(answer: Any) -> Sequence[Any]:
    """The predictions of MLflow and of our own applications."""
    return list(answer["predictions"])


def first_output(answer: Any) -> Sequence[Any]:
    """The first output of the Open Inference Protocol."""
    return list(answer["outputs"][0]["data"])


def _the_answer(answer: Any) -> Sequence[Any]:
    return list(answer)


_python = partial("{{bin}}/python {{here}}/{}".format)


def _run(line: str) -> tuple[str, ...]:
    return tuple(line.split())


_MLFLOW = _run("{bin}/mlflow models serve -m {model} --env-manager local --host 127.0.0.1 --port {port} --workers 1")
_MLSERVER = {
    "MLSERVER_HOST": "127.0.0.1",
    "MLSERVER_HTTP_PORT": "{port}",
    "MLSERVER_GRPC_PORT": "{port2}",
    "MLSERVER_METRICS_PORT": "{port3}",
    "MLSERVER_PARALLEL_WORKERS": "0",
    "MLSERVER_MODEL_URI": "{joblib}",
}

PEERS = (
    Peer(
        "floor",
        "FastAPI {version}, no model: parses the rows and answers",
        "fastapi",
        _run(_python("floor.py")),
        rows_body,
        predictions,
        floor=True,
    ),
    Peer("plain", "FastAPI {version} + `model.predict`", "fastapi", _run(_python("plain.py")), rows_body, predictions),
    Peer(
        "litserve",
        "LitServe {version}, batch 32, 1 ms",
        "litserve",
        _run(_python("litserve_app.py")),
        rows_body,
        predictions,
    ),
    Peer(
        "mlserver",
        "MLServer {version}, no batching",
        "mlserver",
        _run("{bin}/mlserver start {here}/single"),
        tensor_body,
        first_output,
        "/v2/models/m/infer",
        variables=_MLSERVER,
    ),
    Peer(
        "mlserver-batch",
        "MLServer {version}, batch 32, 2 ms",
        "mlserver",
        _run("{bin}/mlserver start {here}/batching"),
        tensor_body,
        first_output,
        "/v2/models/m/infer",
        variables=_MLSERVER,
    ),
    Peer(
        "bentoml",
        "BentoML {version}, adaptive batching",
        "bentoml",
        _run("{bin}/bentoml serve bentoml_app:Trees --working-dir {here} --host 127.0.0.1 --port {port}"),
        rows_body,
        _the_answer,
    ),
    Peer(
        "mlflow",
        "`mlflow models serve` {version}",
        "mlflow",
        _MLFLOW,
        split_body,
        predictions,
        "/invocations",
    ),
    Peer("ray", "Ray Serve {version}, batch 32, 1 ms", "ray", _run(_python("ray_app.py")), rows_body, predictions, "/"),
    Peer(
        "mlflow-mixed",
        "`mlflow models serve` {version}",
        "mlflow",
        _MLFLOW,
        split_body,
        predictions,
        "/invocations",
        model="mixed",
    ),
)
