"""The local runtime: brings the stack up, down, and says how it is."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NoReturn

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local import health
from platform_cli.local.environments import OPTIONAL, chosen, environments, install
from platform_cli.local.plan import Node, plan_services, plan_up, priority, stop_order
from platform_cli.local.processes import end, own_line, stack_processes
from platform_cli.local.progress import Progress
from platform_cli.local.spec import make_spec
from platform_cli.local.starter import Starter
from platform_cli.local.supervisor import DOWN, STOP_GRACE, ProgramState, Supervisor, configuration
from platform_cli.runtime import STEPS_MODULE, STEPS_SERVICE, Program, ServiceStatus
from platform_cli.stack.model import Service, Stack

INSTALLERS = 2
MORE_PASSES = 3


class LocalRuntime:
    """The stack of one home as native processes."""

    def __init__(self, stack: Stack, home: Home) -> None:
        self.stack = stack
        self.home = home
        self.supervisor = Supervisor(home)
        self.environments = environments(home)
        self._as_root = os.geteuid() == 0

    # -- up ---------------------------------------------------------------------------------------------------------

    def install(self, progress: Progress, names: Collection[str] = ()) -> None:
        """Install the environments of these names, or without names those that `up` installs, where they are missing
        or not whole.

        Raises:
            PlatformError: one could not be installed; carries the end of its output.
        """
        with ThreadPoolExecutor(INSTALLERS) as pool:
            list(pool.map(lambda name: self._install(name, progress), chosen(self.environments, names)))

    def up(self, progress: Progress) -> None:
        """Install what is missing, start what does not run, and wait until everything is healthy. What runs, is
        healthy and has not changed is left alone. When something fails, what does not depend on it still starts.

        A service can die after its turn, because one that it uses was started again. So the services are gone through
        again until nothing had to be done.

        Raises:
            PlatformError: what failed, with the end of its log; what has started keeps running.
        """
        self.prepare_supervisor()
        self._go_through(plan_up(self.stack, self._wanted()), progress)
        for _ in range(MORE_PASSES):
            before = progress.changed
            self._go_through(plan_services(self.stack), progress)
            if progress.changed == before:
                return

    def _wanted(self) -> set[str]:
        """The environments that `up` sees to: those that every stack has, and those that its services run from."""
        used = {service.local.env for service in self.stack.started}
        return {*chosen(self.environments, ()), *(used & set(self.environments))}

    def _go_through(self, sorter: TopologicalSorter[Node], progress: Progress) -> None:
        """Take every node up when those before it are done, as many at a time as may be."""
        starter = Starter(self.stack, self.home, self.supervisor, self.environments, progress, as_root=self._as_root)
        sizes = {name: environment.size for name, environment in self.environments.items()}
        running: dict[Future[None], Node] = {}
        waiting: list[Node] = []
        failures: list[PlatformError] = []
        with ThreadPoolExecutor(len(self.environments) + len(self.stack.started)) as pool:
            try:
                while sorter.is_active():
                    waiting += sorter.get_ready()
                    if not waiting and not running:
                        break  # all that is left depends on something that failed
                    waiting.sort(key=lambda node: priority(node, sizes))
                    for node in _to_begin(waiting, running.values()):
                        waiting.remove(node)
                        running[pool.submit(self._take_up, node, starter, progress)] = node
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        node = running.pop(future)
                        error = future.exception()
                        if error is None:
                            sorter.done(node)
                        elif isinstance(error, PlatformError):
                            failures.append(error)
                        else:
                            raise error
            except BaseException:
                starter.cancel()
                raise
        if failures:
            raise _all_of(failures)

    def _take_up(self, node: Node, starter: Starter, progress: Progress) -> None:
        if node.kind == "service":
            starter.start(self.stack.services[node.name])
        else:
            self._install(node.name, progress)

    def _install(self, name: str, progress: Progress) -> None:
        environment, title = self.environments[name], f"environment {name}"
        if environment.whole():
            return
        progress.begin(title, "installing")
        self._stop_users_of(name)
        try:
            install(environment, self.home.log_of(f"install-{name}"))
        except PlatformError as error:
            users = [service for service in self.stack.started if service.local.env == name]
            if all(service.local.optional for service in users) if users else name in OPTIONAL:
                progress.end(title, "not available", detail=error.detail.splitlines()[-1] if error.detail else "")
                return
            progress.end(title, "failed")
            raise
        progress.end(title, "installed")

    def _stop_users_of(self, environment: str) -> None:
        """Stop the services that run from an environment, before it is taken away under them."""
        states = self.supervisor.states()
        for service in self.stack.running:
            if service.local.env == environment and service.name in states:
                self.supervisor.stop(service.name)

    def prepare_supervisor(self) -> None:
        """Have a supervisord that knows the present services. If there is none, what a killed one left is ended
        first: it would hold the ports, and a second copy would be started beside it."""
        config = configuration(self.home, self.stack.running)
        running = self.supervisor.running()
        if not running:
            end_leftovers(self.home)
        self.supervisor.config_file.write_text(config)
        if running:
            self.supervisor.reload()
        else:
            self.supervisor.start()

    # -- down -------------------------------------------------------------------------------------------------------

    def down(self, progress: Progress) -> None:
        """Stop every service, those first that depend on others, then supervisord; end whatever is left."""
        if self.supervisor.running():
            self._stop_in_order(progress, self._alive())
        stop_unordered(self.home)

    def stop(self, names: Collection[str], progress: Progress) -> None:
        """Stop those of these services that run, and wait until they are gone; the others run on."""
        self._stop_in_order(progress, [name for name in self._alive() if name in names])

    def _alive(self) -> list[str]:
        return [name for name, program in self.supervisor.states().items() if program.state not in DOWN]

    def _stop_in_order(self, progress: Progress, alive: Collection[str]) -> None:
        waits = stop_order(self.stack.services, alive)
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(max(len(alive), 1)) as pool:
            while waits or running:
                for name in [name for name, blockers in waits.items() if not blockers]:
                    del waits[name]
                    running[pool.submit(self._stop, name, progress)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    future.result()
                    for blockers in waits.values():
                        blockers.discard(name)

    def _stop(self, name: str, progress: Progress) -> None:
        progress.begin(name, "stopping")
        self.supervisor.stop_wholly(name)
        progress.end(name, "stopped")

    def purge(self) -> None:
        """Nothing: all data is in the home."""

    # -- some services ----------------------------------------------------------------------------------------------

    def start(self, names: Collection[str], progress: Progress) -> None:
        """Start these services in the order in which they depend on each other; the others run on.

        Raises:
            PlatformError: what failed, with the end of its log.
        """
        self.prepare_supervisor()
        self._go_through(plan_services(self.stack, names), progress)

    # -- one service ------------------------------------------------------------------------------------------------

    def running(self) -> bool:
        """Whether supervisord runs."""
        return self.supervisor.running()

    def restart(self, service: Service, progress: Progress) -> None:
        """Stop a service, start it, and wait until it is healthy; the others run on.

        Raises:
            PlatformError: the stack is not up, or the service did not become healthy.
        """
        if not self.supervisor.running():
            raise PlatformError("the stack is not running", do="run `platform up`")
        self._stop(service.name, progress)
        Starter(self.stack, self.home, self.supervisor, self.environments, progress, as_root=self._as_root).start(
            service
        )

    def status(self) -> list[ServiceStatus]:
        """How every service that stays is, checked now, in parallel."""
        states = self.supervisor.states()
        with ThreadPoolExecutor(max(len(self.stack.running), 1)) as pool:
            return list(pool.map(lambda service: self._status(service, states), self.stack.running))

    def _status(self, service: Service, states: Mapping[str, ProgramState]) -> ServiceStatus:
        program = states.get(service.name)
        where = service.url, service.page
        environment = self.environments[service.local.env]
        if service.local.optional and not environment.whole():
            return ServiceStatus(
                service.name, "not available", None, *where, None, "its packages could not be installed"
            )
        if program is None or program.state in DOWN:
            return ServiceStatus(service.name, (program.state if program else "stopped").lower(), False, *where, None)
        if service.healthcheck is None:
            return ServiceStatus(service.name, program.state.lower(), program.state == "RUNNING", *where, program.pid)
        spec = make_spec(service, self.stack, self.home, as_root=self._as_root)
        result = health.check(service.healthcheck, spec, program.started)
        return ServiceStatus(service.name, program.state.lower(), result.ok, *where, program.pid, result.detail)

    # -- programs ---------------------------------------------------------------------------------------------------

    def step(
        self,
        module: str = STEPS_MODULE,
        keep: Iterable[str] = (),
        files: Collection[Path] = (),  # noqa: ARG002 (a process of the caller's has them)
    ) -> Program:
        """The steps' environment, with the variables of the steps' service.

        Raises:
            PlatformError: it is not installed.
        """
        service = self.stack.services[STEPS_SERVICE]
        environment = self.environments[service.local.env]
        if not environment.whole():
            raise PlatformError("the steps' environment is not installed", do="run `platform up`")
        return self.within(STEPS_SERVICE, (str(environment.directory / "bin" / "python"), "-m", module), keep)

    def within(self, service: str, command: Sequence[str], keep: Iterable[str] = ()) -> Program:
        """The command itself, with the variables of the service."""
        spec = make_spec(self.stack.services[service], self.stack, self.home, as_root=self._as_root)
        own = {name: os.environ[name] for name in keep if name in os.environ}
        return Program(tuple(command), {**spec.environment, **own})

    def show_log(self, service: str, lines: int, *, follow: bool) -> NoReturn:
        """Become `tail`, which follows a log through its rotation, and that is all that is wanted.

        Raises:
            PlatformError: there is no log yet.
        """
        file = self.home.log_of(service)
        if not file.exists():
            raise PlatformError(f"{service} has written no log yet", where=str(file), do="run `platform up`")
        os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(file)])  # noqa: S606


def stop_unordered(home: Home) -> None:
    """End supervisord and every process of the stack; needs neither settings nor secrets."""
    supervisor = Supervisor(home)
    if supervisor.running():
        supervisor.stop_all()
        supervisor.shutdown()
    end_leftovers(home)


def end_leftovers(home: Home) -> None:
    """End the processes of the stack that no supervisor looks after."""
    line = own_line()
    end([process.pid for process in stack_processes(home.root) if process.pid not in line], grace=STOP_GRACE)


def _to_begin(waiting: Collection[Node], running: Collection[Node]) -> list[Node]:
    """Those of the ready nodes that may begin now: installations are limited, since they use the cores."""
    free = INSTALLERS - sum(node.kind == "env" for node in running)
    installations = [node for node in waiting if node.kind == "env"][: max(free, 0)]
    return [node for node in waiting if node.kind == "service"] + installations


def _all_of(failures: list[PlatformError]) -> PlatformError:
    """One error for all that failed: the first in full, the others by their first line."""
    first, *others = failures
    if others:
        also = "".join(f"\n  and: {other.what} ({other.where})" for other in others)
        return PlatformError(first.what + also, where=first.where, do=first.do, detail=first.detail)
    return first
