"""A shop whose releases are watched, and what a test does with them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
from mlflow.entities.model_registry import ModelVersion

from pipelines.environment import Environment
from pipelines.monitoring import predictions
from pipelines.project import Project, load_project
from pipelines.release import watch
from pipelines.release.begin import begin
from tests.e2e.shop import Shop
from tests.e2e.steps import run_step

RELEASE = """\
release:
  strategy: canary
  steps: [{share: 0, requests: 30}, {share: 50, requests: 40}]
  limits: {disagreement: 0.25, performance_loss: null, latency_ratio: 50.0, output_drift: 5.0}
  poll: 1s
"""
AWAITED_SECONDS = 120
GOOD, INVERTED = 1, 2
"""The versions that were trained; all others are copies of them."""


class Trade:
    """A shop with a champion, a model that says the opposite of it, and a release to be made."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.env = Environment.from_env(shop.variables)
        shop.file.write_text(shop.file.read_text() + RELEASE)

    @property
    def project(self) -> Project:
        return load_project(self.env.repo, self.shop.name)

    def candidate(self, of: int, **tags: str) -> int:
        """A new version of the same artifact as version `of`, which its gate has passed."""
        model: ModelVersion = self.shop.mlflow.get_model_version(self.shop.name, str(of))
        made = self.shop.mlflow.create_model_version(
            self.shop.name,
            source=str(model.source),
            run_id=model.run_id,
            model_id=self.shop.mlflow.get_run(str(model.run_id)).data.tags["platform.model_id"],
            await_creation_for=0,
            tags={**model.tags, "platform.gate": "passed", **tags},
        )
        for tag in ("platform.promoted", "platform.release", "platform.previous_champion", "platform.serving"):
            if tag in model.tags:
                self.shop.mlflow.delete_model_version_tag(self.shop.name, made.version, tag)
        return int(made.version)

    def begin(self, version: int) -> str | None:
        return begin(self.env, self.project, self.shop.mlflow, version)

    def poll(self) -> dict[str, Any]:
        return watch.run(self.env, self.project, "watch")

    def aliases(self) -> dict[str, int]:
        found = self.shop.mlflow.get_registered_model(self.shop.name).aliases
        return {alias: int(version) for alias, version in found.items()}

    def tags(self, version: int) -> dict[str, str]:
        return dict(self.shop.mlflow.get_model_version(self.shop.name, str(version)).tags)

    def served(self) -> dict[str, int]:
        """The versions that the model server has in each role."""
        answer = self._call("GET", "/models").json()
        for model in answer["models"]:
            if model["name"] == self.shop.name:
                return {entry["role"]: entry["version"] for entry in model["versions"]}
        return {}

    def await_shadow(self, version: int) -> None:
        """Wait until the shadow, a process that has to start, answers what the champion is asked."""

        def answers() -> bool:
            self.ask(1)
            with psycopg.connect(self.env.predictions_url) as connection:
                query = "SELECT 1 FROM predictions WHERE model = %s AND version = %s AND role = 'shadow' LIMIT 1"
                return connection.execute(query, (self.shop.name, version)).fetchone() is not None

        awaited(answers, "an answer of the shadow")

    def ask(self, rows: int, query: str = "") -> list[str]:
        """Send so many orders, each in a request of its own; the roles that answered."""
        orders = self.shop.sql(
            "SELECT order_id, country, price, items FROM {name}.orders ORDER BY order_id LIMIT %s", rows
        )
        roles, last = [], ""
        for order in orders:
            record = dict(zip(("order_id", "country", "price", "items"), order, strict=True))
            answer = self._call("POST", f"/models/{self.shop.name}/predict{query}", json={"records": [record]}).json()
            roles.append(answer["role"])
            last = answer["predictions"][-1]["prediction_id"]
        predictions.await_stored(self.env, last)
        return roles

    def audited(self) -> list[tuple[Any, ...]]:
        return self.shop.sql(
            "SELECT action, version, actor, details FROM audit.actions WHERE project = %s ORDER BY id", self.shop.name
        )

    def _call(self, method: str, path: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.env.serving_api_key}"}
        answer = httpx.request(method, f"{self.env.serving_url}{path}", headers=headers, timeout=10, **body)
        return answer.raise_for_status()


def awaited(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + AWAITED_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.2)
    return found


def models(shop: Shop, *words: str, account: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`platform models …`, as its step."""
    return run_step(shop.variables | (account or {}), "models", *words)
