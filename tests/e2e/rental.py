"""A checkout without the sample on a stack of its own, and the files of a bicycle hire: what a second project needs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg

from pipelines.environment import Environment
from pipelines.monitoring import predictions
from tools.scratch import REPO, Stack, new_stack

NAME = "hires"
PARTS = ("airbyte", "compose", "contract", "dags", "dbt_project", "pipelines", "platform_cli", "serving")
"""What a checkout needs to run, without any project."""
SAMPLE = ("flight_delay", "nycflights.yaml", "landing.yaml", "__pycache__", "target", "logs")
STATIONS = {"harbour": 12.0, "market": 9.0, "campus": 7.0, "park": 4.0}
HOURS = {7: 1.0, 10: 0.6, 13: 0.8, 16: 1.1, 19: 0.7, 22: 0.3}

Facts = dict[str, Any]


def hires(first: datetime, days: int, warmth: float) -> pd.DataFrame:
    """How many bicycles were hired, by station and time of the day. More are when it is warm, and a model that knows
    the winter alone cannot tell how many."""
    random = np.random.default_rng(first.month)
    rows = []
    for day in range(days):
        date = first + timedelta(days=day)
        temperature, rain = random.normal(warmth, 3), bool(random.random() < 0.3)
        for hour, busy in HOURS.items():
            for station, size in STATIONS.items():
                felt = round(temperature + 3 * busy + random.normal(0, 1), 1)
                expected = size * busy * (1 + max(felt, 0) / 4) * (0.6 if rain else 1)
                rows.append(
                    {
                        "hire_id": f"{station}-{date:%Y%m%d}-{hour:02}",
                        "starts_at": date.replace(hour=hour).isoformat(sep=" "),
                        "station": station,
                        "hour": hour,
                        "weekday": date.isoweekday(),
                        "temperature": felt,
                        "rain": rain,
                        "hired": round(max(expected + random.normal(0, 1.5), 0), 1),
                    }
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Rental(Stack):
    """A stack with the project, and what its people do."""

    def told(self, *words: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.platform(*words, "--json", check=True).stdout)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse; none of a table that is not there yet. `%s` is the project."""
        with psycopg.connect(self.env["WAREHOUSE_URL"]) as connection:
            try:
                return connection.execute(query, (NAME,)).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    @cached_property
    def airflow(self) -> httpx.Client:
        """Airflow's REST API, as the owner of the stack."""
        account = self.credentials("airflow-api-server")
        client = httpx.Client(base_url=account["url"], timeout=60)
        body = {"username": account["username"], "password": account["password"]}
        client.headers["Authorization"] = f"Bearer {client.post('/auth/token', json=body).json()['access_token']}"
        return client

    def runs(self, part: str) -> list[Facts]:
        """The runs of one of the project's DAGs, the oldest first; none may have failed."""
        path = f"/api/v2/dags/{NAME}__{part}/dagRuns"
        answer = self.airflow.get(path, params={"order_by": "run_after"}).raise_for_status()
        found: list[Facts] = answer.json()["dag_runs"]
        assert "failed" not in [run["state"] for run in found], found
        return found

    def settled(self) -> bool:
        """Whether every run of the project has ended."""
        parts = ("ingest", "train", "release", "monitor")
        return all(run["state"] == "success" for part in parts for run in self.runs(part))

    @cached_property
    def key(self) -> str:
        """The key of an application."""
        return self.platform("keys", "create", "kiosk", "--scope", "predict", check=True).stdout.strip()

    def ask(self, rows: pd.DataFrame, together: int = 1) -> list[Facts]:
        """Ask for predictions as an application does, without the outcome, some rows a request; the answers, which are
        in the database then."""
        with httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=30) as client:
            answers = [
                self._post(client, rows.iloc[start : start + together]).raise_for_status().json()
                for start in range(0, len(rows), together)
            ]
        predictions.await_stored(Environment.from_env(self.env), answers[-1]["predictions"][-1]["prediction_id"])
        return answers

    def request(self, rows: pd.DataFrame) -> httpx.Response:
        """What an application is answered now."""
        with httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=30) as client:
            return self._post(client, rows)

    def serves(self, version: int, row: pd.DataFrame) -> bool:
        """Whether an application is answered by this version now."""
        answer = self.request(row)
        return answer.is_success and bool(answer.json()["version"] == version)

    def _post(self, client: httpx.Client, rows: pd.DataFrame) -> httpx.Response:
        records = json.loads(rows.drop(columns=["hired", "starts_at"]).to_json(orient="records"))
        return client.post(f"{self.env['SERVING_URL']}/models/{NAME}/predict", json={"records": records})


@contextmanager
def open_rental(envs: Path) -> Iterator[Rental]:
    """A checkout without any project on a stack of its own, which is up."""
    directory = Path(tempfile.mkdtemp(prefix="platform-checkout-", dir="/var/tmp"))
    directory.chmod(0o755)
    for part in PARTS:
        shutil.copytree(REPO / part, directory / part, ignore=shutil.ignore_patterns(*SAMPLE))
    for name in ("docker-compose.yml", "pyproject.toml"):
        shutil.copy(REPO / name, directory)
    bare = new_stack(envs)
    with (bare.home / "platform.env").open("a") as file:
        file.write("AIRFLOW_REFRESH_SECONDS=10\n")
    made = Rental(bare.home, bare.settings, directory)
    try:
        made.platform("up", check=True)
        yield made
    finally:
        made.platform("down", "--purge", "--yes", check=True)
        shutil.rmtree(directory)
