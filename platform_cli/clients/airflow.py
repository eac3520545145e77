"""Airflow's REST API (v2), as far as the commands need it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret

POLL_SECONDS = 0.5
FINAL = frozenset({"success", "failed"})
USERS = "/auth/fab/v1/users"
TASK_FINAL = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG."""

    dag_id: str
    run_id: str
    state: str
    run_after: datetime
    start: datetime | None
    end: datetime | None

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far; 0 before its start."""
        if self.start is None:
            return 0.0
        return ((self.end or datetime.now(self.start.tzinfo)) - self.start).total_seconds()


@dataclass(frozen=True)
class TaskState:
    """A task of a DAG run."""

    task_id: str
    state: str
    attempt: int
    seconds: float


class Airflow:
    """A client that signs in once. Used as a context."""

    def __init__(self, url: str, username: str, password: Secret) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._username = username
        self._password = password

    def __enter__(self) -> Airflow:
        body = {"username": self._username, "password": self._password.reveal()}
        token = self._send("POST", "/auth/token", json=body)["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def has_dag(self, dag_id: str) -> bool:
        """Whether Airflow has parsed this DAG."""
        answer = self._http.get(f"/api/v2/dags/{quote(dag_id, safe='')}")
        return answer.status_code == httpx.codes.OK

    def await_dag(self, dag_id: str, *, seconds: float) -> None:
        """Wait until Airflow has parsed a DAG.

        Raises:
            PlatformError: it is not there in time; with the import errors that Airflow has.
        """
        deadline = time.monotonic() + seconds
        while not self.has_dag(dag_id):
            if time.monotonic() > deadline:
                errors = self._send("GET", "/api/v2/importErrors")["import_errors"]
                raise PlatformError(
                    f"Airflow has no DAG {dag_id}",
                    where="dags/ and projects/",
                    do="check the name, and project.yaml" if not errors else "mend the import errors above",
                    detail="\n".join(f"{e['filename']}: {e['stack_trace']}" for e in errors),
                )
            time.sleep(POLL_SECONDS)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG."""
        self._send("PATCH", f"/api/v2/dags/{quote(dag_id, safe='')}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Let the scheduler start no run of a DAG; what would have started one meanwhile is forgotten."""
        self._send("PATCH", f"/api/v2/dags/{quote(dag_id, safe='')}", json={"is_paused": True})

    def trigger(self, dag_id: str) -> DagRun:
        """Start a run now."""
        body: dict[str, Any] = {"logical_date": None, "conf": {}}
        return _run(self._send("POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", json=body))

    def run(self, run: DagRun) -> DagRun:
        """The present state of a run."""
        return _run(self._send("GET", _path(run)))

    def latest_run(self, dag_id: str, *, since: datetime) -> DagRun | None:
        """The newest run that became due at or after `since`."""
        path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
        found = self._send("GET", path, params={"order_by": "-run_after", "limit": 1})["dag_runs"]
        return _run(found[0]) if found and _run(found[0]).run_after >= since else None

    def await_run(self, dag_id: str, *, since: datetime, seconds: float) -> DagRun:
        """Wait for the newest run of a DAG that became due at or after `since`.

        Raises:
            PlatformError: none came in time.
        """
        deadline = time.monotonic() + seconds
        while (run := self.latest_run(dag_id, since=since)) is None:
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{dag_id} was not started",
                    where="Airflow",
                    do=f"see whether {dag_id} is paused, and `platform logs airflow-scheduler`",
                )
            time.sleep(POLL_SECONDS)
        return run

    def tasks(self, run: DagRun) -> list[TaskState]:
        """The tasks of a run, in the order of their start."""
        found = self._send("GET", f"{_path(run)}/taskInstances", params={"limit": 200})["task_instances"]
        found.sort(key=lambda entry: entry["start_date"] or "9")
        return [
            TaskState(entry["task_id"], entry["state"] or "waiting", entry["try_number"], entry["duration"] or 0.0)
            for entry in found
        ]

    def follow(self, run: DagRun) -> Iterator[TaskState]:
        """Yield each task as it comes to its end, until the run does."""
        seen: set[str] = set()
        while True:
            present = self.run(run)
            for task in self.tasks(run):
                if task.state in TASK_FINAL and task.task_id not in seen:
                    seen.add(task.task_id)
                    yield task
            if present.state in FINAL:
                return
            time.sleep(POLL_SECONDS)

    def result(self, run: DagRun, task_id: str) -> Any:
        """What a task returned (its XCom)."""
        return self._send("GET", f"{_path(run)}/taskInstances/{task_id}/xcomEntries/return_value")["value"]

    def log_of(self, run: DagRun, task: TaskState) -> list[str]:
        """The lines of a task's log."""
        path = f"{_path(run)}/taskInstances/{task.task_id}/logs/{max(task.attempt, 1)}"
        content = self._send("GET", path, params={"full_content": True}).get("content", [])
        texts = [entry["event"] if isinstance(entry, dict) else str(entry) for entry in content]
        return "\n".join(texts).splitlines()

    def users(self) -> list[dict[str, Any]]:
        """Every account: `username`, `email`, `roles`."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._send("GET", USERS, params={"offset": len(found), "limit": 100})
            found += page["users"]
            if not page["users"] or len(found) >= page["total_entries"]:
                return found

    def create_user(self, username: str, email: str, role: str, password: Secret) -> None:
        """Make an account with one role."""
        names = {"username": username, "email": email, "first_name": username, "last_name": "account"}
        body = {**names, "roles": [{"name": role}], "password": password.reveal()}
        self._send("POST", USERS, json=body)

    def set_user_roles(self, username: str, roles: list[str]) -> None:
        """Give an account these roles and no others; it takes Airflow half a minute to notice."""
        self._update_user(username, "roles", [{"name": role} for role in roles])

    def set_user_password(self, username: str, password: Secret) -> None:
        """Set the password of an account, and end the sessions that were opened with the one before."""
        self._update_user(username, "password", password.reveal())

    def _update_user(self, username: str, field: str, value: Any) -> None:
        path = f"{USERS}/{quote(username, safe='')}"
        self._send("PATCH", path, params={"update_mask": field}, json={field: value})

    def _send(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise PlatformError(
                f"Airflow does not answer ({error})", where=str(self._http.base_url), do="look at `platform status`"
            ) from None
        if answer.is_error:
            raise PlatformError(
                f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}",
                where=str(self._http.base_url),
                do="see `platform logs airflow-api-server`",
            )
        return answer.json()


def _path(run: DagRun) -> str:
    return f"/api/v2/dags/{quote(run.dag_id, safe='')}/dagRuns/{quote(run.run_id, safe='')}"


def _run(body: dict[str, Any]) -> DagRun:
    def moment(key: str) -> datetime | None:
        return datetime.fromisoformat(body[key]) if body.get(key) else None

    run_after = datetime.fromisoformat(body["run_after"])
    return DagRun(
        body["dag_id"], body["dag_run_id"], body["state"], run_after, moment("start_date"), moment("end_date")
    )
