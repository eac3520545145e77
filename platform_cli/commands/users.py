"""`platform users`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from platform_cli.coder.credentials import share_credentials
from platform_cli.coder.provision import is_part_of
from platform_cli.commands.context import open_running
from platform_cli.commands.run import run_step
from platform_cli.errors import PlatformError, UsageError
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.output import err, out
from platform_cli.runtime import StackRuntime
from platform_cli.stack.secrets import reveal
from platform_cli.users.environment import find_programs, workspace_environment
from platform_cli.users.kept import Kept
from platform_cli.users.model import Person, Role, check_email, check_name
from platform_cli.users.perform import Everyone, Outcome, levels_of, look, perform
from platform_cli.users.places import open_places
from platform_cli.users.plan import Action, Everywhere, State, plan_disable, plan_renew, plan_role, role_of, state_of
from platform_cli.workspaces.model import load
from platform_cli.workspaces.run import stop

app = typer.Typer(no_args_is_help=True, help="Let people in with a role, in every service at once; take it back.")

Name = Annotated[str, typer.Argument(help="Lower-case letters and digits, with single hyphens between them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What the person may do: docs/users.md.")],
    email: Annotated[str, typer.Option("--email", help="NAME at the domain of CODER_ADMIN_EMAIL if not given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Give a person an account in every service, or another role, or complete what is missing. A new password is
    printed, alone and this once."""
    check_name(name)
    runtime = open_running()
    domain = runtime.stack.settings["CODER_ADMIN_EMAIL"].partition("@")[2]
    person = Person(name, check_email(email or f"{name}@{domain}"))
    outcome = _change(
        _Call(runtime, "add", {"person": name, "role": role}, as_json),
        person,
        lambda levels, everyone: plan_role(role, levels, everyone.found(name)),
        again=f"`platform users add {name} --role {role}` again: it completes what is missing",
    )
    if not outcome.done:
        err.print(f"{name} is {_a(role)} already; nothing was changed", highlight=False)
    if is_part_of(runtime.stack):
        share_credentials(runtime, name, {} if role is Role.VIEWER else workspace_environment(runtime, name))


@app.command("disable")
def disable(name: Name, as_json: AsJson = False) -> None:
    """Take all access from a person and from their programs, and stop their workspaces; what they made stays. `add`
    lets them in again."""
    runtime = open_running()

    def plan(levels: Everywhere, everyone: Everyone) -> list[Action]:
        _refuse_nobody(name, everyone)
        return plan_disable(levels, everyone.found(name))

    _stop_workspace(runtime, check_name(name))
    outcome = _change(
        _Call(runtime, "disable", {"person": name}, as_json),
        Person(name, ""),
        plan,
        again=f"`platform users disable {name}` again: until then there is access where it failed",
    )
    share_credentials(runtime, name, {})
    if outcome.done:
        err.print("whom Airflow and MLflow let in a moment ago, they may know for a minute more", highlight=False)
    else:
        err.print(f"{name} is disabled already; nothing was changed", highlight=False)


@app.command("reset")
def reset(name: Name, as_json: AsJson = False) -> None:
    """Give a person a new password, the same in every service; it is printed, alone and this once."""

    def plan(levels: Everywhere, everyone: Everyone) -> list[Action]:
        _refuse_nobody(name, everyone)
        actions = plan_renew(levels, everyone.found(name))
        if not actions and not everyone.away:
            raise UsageError(f"{name} is disabled", do=f"`platform users add {name} --role ROLE` lets them in again")
        return actions

    _change(
        _Call(open_running(), "reset", {"person": check_name(name)}, as_json),
        Person(name, ""),
        plan,
        again=f"`platform users reset {name}` again, for one password that is the same everywhere",
        only_signed_in_to=True,
    )


@app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Show everybody with their role, and their account in each service in its own words."""
    places = open_places(open_running())
    levels, everyone = levels_of(places), look(places)
    people = [_described(name, levels, everyone) for name in everyone.names]
    if as_json:
        typer.echo(json.dumps(people, indent=2))
    else:
        out.print(_table(people, everyone))
    if everyone.away:
        raise _failure("not everybody is listed", everyone.away, "`platform users list` again")


@app.command("env")
def env(
    name: Name,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make the credentials anew; those before open nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a person's programs are given, as a workspace has it: addresses and credentials of their own, for a
    shell to read. Whoever has them acts as the person in MLflow, the warehouse and the model server."""
    runtime = open_running()
    with runtime.home.exclusively():
        found = {
            key: reveal(value) for key, value in find_programs(runtime, name).environment(runtime, renew=renew).items()
        }
    if renew:
        share_credentials(runtime, name, found)
        _write_down(runtime, "env_renew", {"person": name})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        typer.echo(f"export {key}={shlex.quote(value)}")


@dataclass(frozen=True)
class _Call:
    """A call that changes something: of which stack, what, and what there is to know about it."""

    runtime: StackRuntime
    action: str
    details: Mapping[str, str]
    as_json: bool


def _change(
    call: _Call,
    person: Person,
    plan: Callable[[Everywhere, Everyone], list[Action]],
    *,
    again: str,
    only_signed_in_to: bool = False,
) -> Outcome:
    """Look, plan, do it; tell the password, write down what was done, and then say what failed.

    Raises:
        PlatformError: a service failed; what was done in the others stays, and `again` completes it.
    """
    with call.runtime.home.exclusively():
        places = [place for place in open_places(call.runtime) if not (only_signed_in_to and place.kept_as)]
        everyone = look(places)
        actions = plan(levels_of(places), everyone)
        outcome = perform(actions, places, person, kept=Kept(call.runtime.home), away=everyone.away, say=_say)
    _tell(call, outcome)
    done = [f"{step.place}: {step.kind} {step.level}".strip() for step in outcome.done]
    failed = {place: error.what for place, error in outcome.failed.items()}
    if done or failed:
        _write_down(call.runtime, call.action, {**call.details, "done": done, "failed": failed})
    if failed:
        raise _failure(f"{call.action} {person.name}: not in every service", outcome.failed, again)
    return outcome


def _stop_workspace(runtime: StackRuntime, name: str) -> None:
    """Stop the workspace of a person on this machine, if one runs; with containers, they are Coder's."""
    if isinstance(runtime, LocalRuntime) and load(name, runtime.home) is not None:
        with runtime.home.exclusively(), Progress(err) as progress:
            stop(runtime, name, progress)


def _refuse_nobody(name: str, everyone: Everyone) -> None:
    """Raise if every service was asked and none knows this name."""
    if name not in everyone.names and not everyone.away:
        raise UsageError(f"there is nobody named {name!r}", do="see `platform users list`")


def _say(action: Action) -> None:
    err.print(f"{action.place:<16} {action.kind}{f', {action.level}' if action.level else ''}", highlight=False)


def _tell(call: _Call, outcome: Outcome) -> None:
    """Print the password alone, or everything as JSON."""
    told = reveal(outcome.password) if outcome.opens or outcome.may_open else None
    if call.as_json:
        changes = [{"service": step.place, "change": step.kind, "level": step.level} for step in outcome.done]
        password = {"password": told, "opens": outcome.opens, "may_open": outcome.may_open}
        failed = {place: error.what for place, error in outcome.failed.items()}
        typer.echo(json.dumps({**call.details, **password, "changes": changes, "failed": failed}, indent=2))
    elif told is not None:
        where = ", ".join([*outcome.opens, *(f"perhaps {place}" for place in outcome.may_open)])
        err.print(f"the password for {where}, told this once and kept nowhere:", highlight=False)
        typer.echo(told)


def _write_down(runtime: StackRuntime, action: str, details: Mapping[str, Any]) -> None:
    """Add a row to `audit.actions`; that it could not be done is said, and is no reason to fail."""
    try:
        run_step(runtime, ["audit", f"users_{action}", json.dumps(details)])
    except PlatformError as error:
        err.print("this is not written down in audit.actions: the warehouse does not take it", highlight=False)
        err.print(error.detail, style="dim", highlight=False, markup=False)


def _failure(what: str, failed: Mapping[str, PlatformError], again: str) -> PlatformError:
    reasons = "".join(f"\n  {place}: {error.what}" for place, error in failed.items())
    first = next(iter(failed.values()))
    mend = f"{first.do}; then " if first.do else ""
    return PlatformError(f"{what}{reasons}", where=first.where, do=f"{mend}{again}")


def _described(name: str, levels: Everywhere, everyone: Everyone) -> dict[str, Any]:
    found = everyone.found(name)
    accounts = {
        place: account and {"level": account.level, "enabled": account.enabled} for place, account in found.items()
    }
    return {"name": name, "role": role_of(levels, found), "state": state_of(levels, found), "services": accounts}


def _table(people: list[dict[str, Any]], everyone: Everyone) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("NAME", "ROLE", "STATE", *(place.upper() for place in everyone.accounts)):
        table.add_column(title, no_wrap=True)
    for person in people:
        cells = [
            "" if account is None else account["level"] if account["enabled"] else "disabled"
            for account in person["services"].values()
        ]
        unclear = "" if person["state"] == State.DISABLED else "?"
        table.add_row(person["name"], person["role"] or unclear, person["state"], *cells)
    return table


def _a(role: Role) -> str:
    return f"an {role}" if role[0] in "ae" else f"a {role}"
