"""The sample project on a running stack: its steps, its DAGs, its traffic, and the version that serves it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from platform_cli.clients.airflow import FINAL, Airflow, DagRun
from platform_cli.clients.mlflow import MLflow
from platform_cli.clients.serving import ModelServer
from platform_cli.errors import PlatformError
from platform_cli.home import REPO
from platform_cli.loop import follow, follow_next, start
from platform_cli.output import err
from platform_cli.runtime import StackRuntime

PROJECT = "flight_delay"
SERVED_SECONDS = 60
RELEASE_SECONDS = 600
ALL_ROWS = 100_000
"""More than any month has."""
PARTS = 50
"""In how many parts the rows of a month are sent while a release is watched."""
WATCHED = frozenset({"canary", "shadow"})


@dataclass(frozen=True)
class Training:
    """A training that ran: what started it (None if the guards held it back), and what became of its candidate."""

    trigger: str | None
    version: int | None = None
    gate: str | None = None
    watch: DagRun | None = None
    """The run that watches the release of the candidate, if it is released in steps."""


@dataclass(frozen=True)
class Sample:
    """What the demo does with the sample."""

    runtime: StackRuntime
    airflow: Airflow

    def step(self, name: str, *options: str, told: bool = True, files: Collection[Path] = ()) -> dict[str, Any]:
        """Run a step and return the JSON object that it prints last; `files` are those it reads or writes here.

        Raises:
            PlatformError: the step failed; with its output.
        """
        program = self.runtime.step(files=files)
        began = time.monotonic()
        done = subprocess.run(
            [*program.command, name, PROJECT, *options],
            env=dict(program.environment),
            capture_output=True,
            text=True,
            cwd=REPO,
            check=False,
        )
        if done.returncode:
            raise PlatformError(f"the step {name} failed", do="see its message above", detail=done.stderr.strip())
        if told:
            say(f"  [green]✓[/] {name:<45} {'success':<10} {time.monotonic() - began:6.1f} s")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def new_data(self, months: str) -> Training:
        """Land months and ingest them; follow what that starts: the training, if it is wanted, and a look of the
        monitor, so that nothing of it comes in between later."""
        began = datetime.now(UTC)
        training = self._ingest(months)
        follow_next(self.airflow, f"{PROJECT}__monitor", since=began)
        return training

    @contextmanager
    def requests_first(self, month: int) -> Iterator[None]:
        """Land and ingest a month, and let the monitor, which new data starts too, wait until the block has sent its
        requests. In life they come before the data of their month; here one file brings both."""
        monitor = f"{PROJECT}__monitor"
        self.airflow.pause(monitor)
        try:
            self._ingest(str(month))
            yield
        finally:
            self.airflow.unpause(monitor)

    def look(self) -> tuple[dict[str, Any], Training | None]:
        """Let the monitor look at the predictions, and follow the training that it starts, if it does: what it found,
        and that training."""
        began = datetime.now(UTC)
        run = follow(self.airflow, start(self.airflow, f"{PROJECT}__monitor"))
        findings: dict[str, Any] = self.airflow.result(run, "monitor")
        due = any(task.task_id == "retrain_due" and task.state == "success" for task in self.airflow.tasks(run))
        return findings, self._training(began) if due else None

    def send(self, month: int) -> None:
        """Send all rows of the month to the model server, as an application would have."""
        self.step("replay", "--month", str(month), "--rows", str(ALL_ROWS))

    def send_until_released(self, month: int, rows: int, watch: DagRun, first: int = 1) -> None:
        """Send parts of the month from the part `first` on, over and over, until the release has ended.

        Raises:
            PlatformError: it does not end in ten minutes.
        """
        deadline, parts = time.monotonic() + RELEASE_SECONDS, cycle(range(first, PARTS + 1))
        while not self.ended(watch):
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the release did not end within {RELEASE_SECONDS} s",
                    where=f"Airflow, run {watch.run_id}",
                    do=f"see `platform run {PROJECT} release status`",
                )
            words = ("--month", str(month), "--rows", str(rows), "--part", f"{next(parts)}/{PARTS}")
            self.step("replay", *words, told=False)

    def watched_release(self) -> DagRun | None:
        """The run that watches a release now, if there is one."""
        run = self.airflow.latest_run(f"{PROJECT}__release", since=datetime.min.replace(tzinfo=UTC))
        return None if run is None or run.state in FINAL else run

    def ended(self, watch: DagRun) -> bool:
        """Whether a release is over."""
        return self.airflow.run(watch).state in FINAL

    def champion(self) -> int:
        """The version that the registry names champion."""
        return int(self.registry().aliased_version(PROJECT, "champion")["version"])

    def await_served(self) -> dict[str, Any]:
        """Wait until the model server serves the champion that the registry names; returns the server's word on it.

        Raises:
            PlatformError: it does not.
        """
        server = self.server()
        champion = self.registry().aliased_version(PROJECT, "champion")
        deadline = time.monotonic() + SERVED_SECONDS
        while time.monotonic() < deadline:
            served = server.champion(PROJECT)
            if served is not None and str(served["version"]) == str(champion["version"]):
                say(f"  [green]✓[/] version {served['version']} of {PROJECT} is served")
                return champion | served
            time.sleep(0.2)
        raise PlatformError(
            f"the model server does not serve version {champion['version']} of {PROJECT}",
            do="see `platform logs serving`",
        )

    def server(self) -> ModelServer:
        """A client of the model server."""
        service = self.runtime.stack.service("serving")
        return ModelServer(service.url, self.runtime.stack.secrets["SERVING_CLIENT_KEY"])

    def registry(self) -> MLflow:
        """A client of MLflow."""
        service = self.runtime.stack.service("mlflow")
        return MLflow(service.url, "admin", self.runtime.stack.secrets["MLFLOW_ADMIN_PASSWORD"])

    def _ingest(self, months: str) -> Training:
        self.step("land", "--months", months)
        began = datetime.now(UTC)
        follow(self.airflow, start(self.airflow, f"{PROJECT}__ingest"))
        return self._training(began)

    def _training(self, since: datetime) -> Training:
        """Follow the training that something has started since then."""
        run = follow_next(self.airflow, f"{PROJECT}__train", since=since)
        states = {task.task_id: task.state for task in self.airflow.tasks(run)}
        if states["decide"] != "success":
            return Training(None)
        trigger = self.airflow.result(run, "decide")["trigger"]
        registered = self.airflow.result(run, "register")
        watch = None
        if registered["alias"] in WATCHED:
            watch = self.airflow.await_run(f"{PROJECT}__release", since=since, seconds=RELEASE_SECONDS)
        return Training(trigger, registered["version"], registered["gate"], watch)


def say(text: str) -> None:
    """Tell what goes on."""
    err.print(text, highlight=False)


def chapter(title: str) -> None:
    """Begin a chapter of the story."""
    err.print(f"\n[bold cyan]{title}[/]")
