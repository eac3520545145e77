"""What the programs of a person are given: addresses, and credentials of the person's own that can be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from platform_cli.errors import PlatformError, UsageError
from platform_cli.runtime import STEPS_SERVICE, StackRuntime
from platform_cli.stack.secrets import Secret, Text, reveal
from platform_cli.users.kept import Kept
from platform_cli.users.mlflow import PROGRAMS, MLflowPlace
from platform_cli.users.model import Person, Role, check_name
from platform_cli.users.perform import levels_of, look, perform
from platform_cli.users.place import Place
from platform_cli.users.places import open_places
from platform_cli.users.plan import Found, State, plan_renew, plan_role, role_of, state_of


def workspace_environment(runtime: StackRuntime, name: str) -> dict[str, Secret | str]:
    """The variables of a person's workspace: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD,
    MLFLOW_EXPERIMENT_NAME, WAREHOUSE_URL, SERVING_URL, SERVING_API_KEY.

    Addresses are those that the steps are given: programs of people live where these do. The credentials are the
    person's and the same at every call, until they are renewed (`platform users env NAME --renew`) or taken back
    (`platform users disable NAME`). One that is not kept any more is made anew.

    Raises:
        UsageError: there is no such person, the person is disabled, or the role has no workspace (viewer).
        PlatformError: a service is away.
    """
    programs = find_programs(runtime, name)
    if programs.role is Role.VIEWER:
        raise UsageError(
            f"{name} is a viewer, and viewers have no workspace",
            do=f"`platform users add {name} --role {Role.SCIENTIST}` gives one",
        )
    return programs.environment(runtime)


@dataclass(frozen=True)
class Programs:
    """The accounts of one person's programs."""

    name: str
    role: Role
    places: Sequence[Place]
    found: Found

    def environment(self, runtime: StackRuntime, *, renew: bool = False) -> dict[str, Text]:
        """The variables of a person's programs: those of a workspace; a viewer's have no key of the model server.

        Args:
            renew: make all credentials anew; what runs with those before is refused.

        Raises:
            PlatformError: a service refuses a new credential.
        """
        kept = Kept(runtime.home)
        own = kept.read(self.name)
        wanting = {place.name: place for place in self.places if place.kept_as and (renew or place.kept_as not in own)}
        actions = plan_renew(wanting, self.found)
        outcome = perform(actions, self.places, Person(self.name, ""), kept=kept)
        for error in outcome.failed.values():
            raise error
        return compose(self.name, runtime.stack.services[STEPS_SERVICE].environment, kept.read(self.name))


def find_programs(runtime: StackRuntime, name: str) -> Programs:
    """The accounts of a person's programs; MLflow tells the role.

    Raises:
        UsageError: there is no such person, or the person is disabled.
        PlatformError: a service is away, or an account is missing.
    """
    places = [place for place in open_places(runtime) if place.kept_as or isinstance(place, MLflowPlace)]
    levels, everyone = levels_of(places), look(places)
    for error in everyone.away.values():
        raise error
    found = everyone.found(check_name(name))
    if state_of(levels, found) is State.DISABLED:
        known = any(account is not None for account in found.values())
        raise UsageError(
            f"{name} is disabled" if known else f"there is nobody named {name!r}",
            do=f"`platform users add {name} --role ROLE`" + (" lets them in again" if known else ""),
        )
    role = role_of(levels, found)
    if role is None or plan_role(role, levels, found):
        raise PlatformError(
            f"the accounts of {name} are not complete",
            where="`platform users list`",
            do=f"`platform users add {name} --role {role or 'ROLE'}` completes them",
        )
    return Programs(name, role, places, found)


def compose(name: str, addresses: Mapping[str, Text], secrets: Mapping[str, Secret]) -> dict[str, Text]:
    """The variables, out of the addresses that steps are given and the person's own secrets."""
    password = quote(secrets["WAREHOUSE_PASSWORD"].reveal(), safe="")
    host, port, database = (reveal(addresses[f"WAREHOUSE_{part}"]) for part in ("HOST", "PORT", "DATABASE"))
    key = {"SERVING_API_KEY": secrets["SERVING_API_KEY"]} if "SERVING_API_KEY" in secrets else {}
    return {
        "MLFLOW_TRACKING_URI": addresses["MLFLOW_TRACKING_URI"],
        "MLFLOW_TRACKING_USERNAME": name + PROGRAMS,
        "MLFLOW_TRACKING_PASSWORD": secrets["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_EXPERIMENT_NAME": f"users/{name}",
        "WAREHOUSE_URL": Secret(f"postgresql://{name}:{password}@{host}:{port}/{database}"),
        "SERVING_URL": addresses["SERVING_URL"],
        **key,
    }
