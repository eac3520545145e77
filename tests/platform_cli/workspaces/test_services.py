"""What a workspace adds to the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from platform_cli.home import REPO, Home
from platform_cli.local.plan import Node, plan_services, stop_order
from platform_cli.local.spec import make_spec
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Stack
from platform_cli.stack.secrets import Secret, redact
from platform_cli.workspaces.model import Workspace
from platform_cli.workspaces.services import service_names, services_of, with_workspaces, without_workspace

ANA = Workspace("ana", 8900, 8901, Secret("t0ken"), {"WHO": "ana", "SERVING_API_KEY": Secret("k3y")}, on=True)
READY, JUPYTERLAB, VSCODE = service_names("ana")


@pytest.fixture
def stack(home: Home) -> Stack:
    return load_stack(home, create_secrets=True)


def test_only_a_workspace_that_is_on_is_part_of_the_stack(stack: Stack, home: Home) -> None:
    bob = replace(ANA, name="bob", on=False)
    made = with_workspaces(stack, [ANA, bob], home)
    assert set(made.services) - set(stack.services) == {READY, JUPYTERLAB, VSCODE}
    assert {service.name for service in made.running} - {service.name for service in stack.running} == {
        JUPYTERLAB,
        VSCODE,
    }
    assert without_workspace(made, "ana").services == stack.services


def test_what_is_secret_of_it_is_shown_in_no_log(stack: Stack, home: Home) -> None:
    made = with_workspaces(stack, [replace(ANA, on=False)], home)
    assert redact("ana t0ken k3y", made.secrets) == "ana ******** ********"


def test_the_home_is_made_first_and_workspaces_stop_before_what_they_use(stack: Stack, home: Home) -> None:
    made = with_workspaces(stack, [ANA], home)
    waits = stop_order(made.services, ["postgres", "mlflow", "serving", JUPYTERLAB, VSCODE])
    assert waits[JUPYTERLAB] == waits[VSCODE] == set()
    assert all({JUPYTERLAB, VSCODE} <= waits[used] for used in ("postgres", "mlflow", "serving"))

    sorter = plan_services(made, service_names("ana"))
    assert sorter.get_ready() == (Node("service", READY),), "the services that it uses are not gone through"
    sorter.done(Node("service", READY))
    assert set(sorter.get_ready()) == {Node("service", JUPYTERLAB), Node("service", VSCODE)}


def test_each_program_gets_the_persons_environment_and_nothing_of_the_stack(stack: Stack, home: Home) -> None:
    made = with_workspaces(stack, [ANA], home)
    for service in services_of(ANA, stack, home):
        spec = make_spec(service, made, home, as_root=True)
        assert spec.environment["SERVING_API_KEY"] == "k3y"
        assert spec.environment["HOME"] == str(home.workspaces / "ana")
        assert spec.environment["PYTHONPATH"] == ""
        assert spec.user == stack.settings["WORKSPACE_USER"]
        assert (REPO / spec.command[0]).stat().st_mode & 0o111
        secrets = {secret.reveal() for secret in stack.secrets.values()} - {""}
        assert not secrets & set(spec.environment.values())
        assert not {"t0ken", "k3y"} & set(spec.command)
