"""What `up` does, as data: a graph of environments to install and services to start. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from platform_cli.errors import PlatformError
from platform_cli.stack.model import Service, Stack


@dataclass(frozen=True, order=True)
class Node:
    """A step of `up`: `kind` is 'env' (install an environment) or 'service' (start or run a service)."""

    kind: str
    name: str


def plan_up(stack: Stack, environments: Collection[str]) -> TopologicalSorter[Node]:
    """The graph: a service waits for its environment and for the services it depends on; an environment waits for
    nothing. So PostgreSQL starts while Airflow is still being installed.

    Raises:
        PlatformError: services depend on each other in a circle, or one names an environment that is not there.
    """
    graph = _services(stack)
    for service in stack.started:
        if service.local.env not in environments:
            raise PlatformError(f"{service.name} names the environment {service.local.env}, which no component has")
        graph[Node("service", service.name)].add(Node("env", service.local.env))
    return _prepared(graph | {Node("env", name): set() for name in environments})


def plan_services(stack: Stack, names: Collection[str] | None = None) -> TopologicalSorter[Node]:
    """The graph of the services alone, or of those with these names, for environments that are installed."""
    graph = _services(stack)
    if names is not None:
        wanted = {Node("service", name) for name in names}
        graph = {node: before & wanted for node, before in graph.items() if node in wanted}
    return _prepared(graph)


def _services(stack: Stack) -> dict[Node, set[Node]]:
    return {
        Node("service", service.name): {Node("service", name) for name in service.depends_on}
        for service in stack.started
    }


def _prepared(graph: Mapping[Node, Collection[Node]]) -> TopologicalSorter[Node]:
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise PlatformError(f"services depend on each other in a circle: {error.args[1]}") from None
    return sorter


def stop_order(services: Mapping[str, Service], alive: Collection[str]) -> dict[str, set[str]]:
    """For each live service, those that must be gone before it is stopped: the live ones that depend on it, also
    through services that run once and have ended."""
    waits: dict[str, set[str]] = {name: set() for name in alive}
    for name in alive:
        for needed in _all_needed(services[name], services) & set(alive):
            waits[needed].add(name)
    return waits


def _all_needed(service: Service, by_name: Mapping[str, Service]) -> set[str]:
    needed: set[str] = set()
    front = [name for name in service.depends_on if name in by_name]
    while front:
        name = front.pop()
        if name not in needed:
            needed.add(name)
            front += [further for further in by_name[name].depends_on if further in by_name]
    return needed


def priority(node: Node, sizes: Mapping[str, int]) -> int:
    """The order in which ready nodes are taken up: services first, since they mostly wait; then the largest
    environments, since what depends on them takes longest."""
    return -(1 << 40) if node.kind == "service" else -sizes.get(node.name, 0)
