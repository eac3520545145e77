"""Starts one service, or runs one that ends by itself, and waits until it is as it should be."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local import health
from platform_cli.local.environments import Environment
from platform_cli.local.processes import alive
from platform_cli.local.progress import Progress
from platform_cli.local.spec import Spec, fingerprint, make_spec
from platform_cli.local.supervisor import LAUNCHER, ProgramState, Supervisor, spec_file
from platform_cli.stack.model import Condition, Service, Stack
from platform_cli.stack.secrets import redact, reveal, write_private

# health checks are written for a container that is watched for months; a start is polled faster
POLL_SECONDS = 0.25
LIVES = 3
LOG_LINES = 20
ONE_SHOT_SECONDS = 300


class Starter:
    """Starts services for one `up` or `restart`."""

    def __init__(
        self,
        stack: Stack,
        home: Home,
        supervisor: Supervisor,
        environments: Mapping[str, Environment],
        progress: Progress,
        *,
        as_root: bool,
    ) -> None:
        self._stack = stack
        self._home = home
        self._supervisor = supervisor
        self._environments = environments
        self._progress = progress
        self._as_root = as_root
        self._cancelled = threading.Event()
        self._started: set[str] = set()

    def cancel(self) -> None:
        """Let everything that still waits give up: something else has failed."""
        self._cancelled.set()

    def start(self, service: Service) -> None:
        """Have the service running and healthy (or, if it runs once, done). Nothing happens if it is so already.

        Raises:
            PlatformError: it ended, kept dying, or did not become healthy in time; with the end of its log.
        """
        if self._cancelled.is_set():
            return
        environment = self._environments[service.local.env]
        if service.local.optional and not environment.whole():
            return
        spec = make_spec(service, self._stack, self._home, as_root=self._as_root)
        mark = fingerprint(spec, service, environment.digest)
        if service.one_shot:
            self._run_once(service, spec, mark)
        else:
            self._keep(service, spec, mark)

    # -- services that stay -----------------------------------------------------------------------------------------

    def _keep(self, service: Service, spec: Spec, mark: str) -> None:
        file = self._mark_file(service)
        program = self._supervisor.states().get(service.name)
        if (
            program is not None
            and program.state == "RUNNING"
            and alive(program.pid)
            and _read(file) == mark
            and not service.restarted_with & self._started
            and self._healthy(service, spec, program).ok
        ):
            return
        self._progress.begin(service.name, "starting")
        self._supervisor.stop_wholly(service.name)  # what a killed one left would answer in place of the new one
        file.unlink(missing_ok=True)
        self._write_files(service, spec)
        self._supervisor.start_program(service.name)
        if not self._await_healthy(service, spec):
            self._progress.end(service.name, "not awaited")
            return
        file.write_text(mark)
        self._started.add(service.name)
        self._progress.end(service.name, "healthy")

    def _await_healthy(self, service: Service, spec: Spec) -> bool:
        """Wait until the service is healthy; False if something else has failed meanwhile."""
        patience = service.healthcheck.patience if service.healthcheck else 10.0
        deadline = time.monotonic() + patience
        starts: set[int] = set()
        result = health.Health(False, "not checked yet")
        while time.monotonic() < deadline and not self._cancelled.is_set():
            program = self._supervisor.states().get(service.name)
            self._refuse_dead(service, program, starts)
            if program is not None and program.state == "RUNNING":
                result = self._healthy(service, spec, program)
                if result.ok:
                    return True
            self._cancelled.wait(POLL_SECONDS)
        if self._cancelled.is_set():
            return False
        raise self._failed(service, f"{service.name} did not become healthy in {patience:g} s ({result.detail})")

    def _refuse_dead(self, service: Service, program: ProgramState | None, starts: set[int]) -> None:
        """Raise if supervisord has given up on the program, or if it has started it so often that it never will stay.

        Args:
            starts: the process ids seen so far; this one is added.
        """
        if program is None or program.state == "UNKNOWN":
            raise self._failed(service, f"supervisord does not run {service.name}")
        if program.state == "FATAL":
            raise self._failed(
                service, f"{service.name} ends right after its start ({program.reason or 'see its log'})"
            )
        if program.pid:
            starts.add(program.pid)
        if len(starts) > 1:
            self._progress.note(service.name, f"died and was started again ({len(starts) - 1})")
        if len(starts) > LIVES:
            self._supervisor.stop(service.name)
            raise self._failed(service, f"{service.name} keeps dying: it was started {LIVES} times")

    def _healthy(self, service: Service, spec: Spec, program: ProgramState) -> health.Health:
        if service.healthcheck is None:
            return health.Health(True)
        return health.check(service.healthcheck, spec, program.started)

    # -- services that run once -------------------------------------------------------------------------------------

    def _run_once(self, service: Service, spec: Spec, mark: str) -> None:
        file = self._mark_file(service)
        made = all(output.exists() for output in service.local.outputs)
        if _read(file) == mark and made and not self._prepares_a_new_process(service):
            return
        self._progress.begin(service.name, "running")
        file.unlink(missing_ok=True)
        self._write_files(service, spec)
        # launch reads with -I, so that the caller's environment reaches neither it nor the service
        command = [sys.executable, "-I", "-S", str(LAUNCHER), str(spec_file(self._home, service.name))]
        with self._home.log_of(service.name).open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            deadline = time.monotonic() + ONE_SHOT_SECONDS
            while process.poll() is None and time.monotonic() < deadline and not self._cancelled.is_set():
                self._cancelled.wait(0.05)
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
        if self._cancelled.is_set():
            return
        if process.returncode:
            raise self._failed(service, f"{service.name} failed with exit code {process.returncode}")
        file.write_text(mark)
        self._progress.end(service.name, "done")

    def _prepares_a_new_process(self, service: Service) -> bool:
        """Whether it works on a service that this `up` has started, and so must run again (a warm-up, say)."""
        return any(
            condition is Condition.HEALTHY and name in self._started for name, condition in service.depends_on.items()
        )

    # -- files ------------------------------------------------------------------------------------------------------

    def _write_files(self, service: Service, spec: Spec) -> None:
        owner = pwd.getpwnam(spec.user) if spec.user else None
        for directory in service.local.data:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            if owner is not None:
                os.chown(directory, owner.pw_uid, owner.pw_gid)
        for config in service.configs:
            config.target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            write_private(config.target, reveal(config.content))
            if owner is not None:
                os.chown(config.target, owner.pw_uid, owner.pw_gid)
        file = spec_file(self._home, service.name)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(file, spec.to_json())

    def _mark_file(self, service: Service) -> Path:
        return self._home.state / "started" / service.name

    def _failed(self, service: Service, what: str) -> PlatformError:
        self._progress.end(service.name, "failed")
        log = self._home.log_of(service.name)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        return PlatformError(
            what,
            where=str(log),
            do=f"read the lines above (`platform logs {service.name}` shows more); the other services keep running",
            detail=redact("\n".join(lines), self._stack.secrets),
        )


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""
