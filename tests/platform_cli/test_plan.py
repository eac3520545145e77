from __future__ import annotations

import pytest

from platform_cli.errors import PlatformError
from platform_cli.local.plan import Node, plan_services, plan_up, stop_order
from platform_cli.stack.model import Condition, Local, Service, Stack


def service(name: str, *needs: str, env: str = "e", one_shot: bool = False, profiles: tuple[str, ...] = ()) -> Service:
    return Service(
        name=name,
        component="c",
        command=("true",),
        environment={},
        depends_on=dict.fromkeys(needs, Condition.HEALTHY),
        healthcheck=None,
        configs=(),
        url="",
        address="",
        credentials={},
        one_shot=one_shot,
        profiles=profiles,
        stop_grace=1.0,
        local=Local(env=env),
    )


def stack(*services: Service) -> Stack:
    return Stack({entry.name: entry for entry in services}, {}, {})


def order(planned: Stack, environments: list[str]) -> list[set[Node]]:
    sorter = plan_up(planned, environments)
    levels = []
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append(set(ready))
        sorter.done(*ready)
    return levels


def test_a_service_waits_for_its_environment_and_its_dependencies_only() -> None:
    planned = stack(service("db", env="small"), service("web", "db", env="large"))
    assert order(planned, ["small", "large", "other"]) == [
        {Node("env", "small"), Node("env", "large"), Node("env", "other")},
        {Node("service", "db")},
        {Node("service", "web")},
    ]


def test_a_service_with_a_profile_is_not_started() -> None:
    assert order(stack(service("tool", profiles=("tools",))), ["e"]) == [{Node("env", "e")}]


def test_a_circle_is_named() -> None:
    with pytest.raises(PlatformError, match="circle"):
        plan_up(stack(service("a", "b"), service("b", "a")), ["e"])


def test_an_environment_that_no_component_has_is_named() -> None:
    with pytest.raises(PlatformError, match="environment missing"):
        plan_up(stack(service("a", env="missing")), ["e"])


def test_a_service_is_stopped_after_all_that_depend_on_it() -> None:
    planned = stack(
        service("db"), service("init", "db", one_shot=True), service("mlflow", "init"), service("web", "mlflow")
    )
    waits = stop_order(planned.services, ["db", "mlflow", "web"])
    assert waits == {"db": {"mlflow", "web"}, "mlflow": {"web"}, "web": set()}


def test_a_service_that_is_gone_already_is_not_waited_for() -> None:
    planned = stack(service("db"), service("web", "db"))
    assert stop_order(planned.services, ["db"]) == {"db": set()}


def test_the_services_alone_are_planned_for_another_pass() -> None:
    sorter = plan_services(stack(service("a", "b"), service("b")))
    assert set(sorter.get_ready()) == {Node("service", "b")}
