"""The warehouse: a role of PostgreSQL for a person's programs, which reads and changes nothing."""

from __future__ import annotations

from typing import ClassVar

from platform_cli.runtime import StackRuntime
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import Account, Person, Role
from platform_cli.users.place import Levels, Place
from platform_cli.users.psql import run_sql, scram_verifier

DATABASE = "warehouse"
CONNECTIONS = 10
"""The most that one person may hold open: a notebook that leaks them takes none from the services."""
GROUP = "people_"
"""Begins the names of the group roles that compose/postgres/people.sql makes; a level is the rest of it."""

FIND = """
SELECT person.rolname, regexp_replace(grouped.rolname, '^people_', ''), person.rolcanlogin
FROM pg_auth_members JOIN pg_roles person ON member = person.oid JOIN pg_roles grouped ON roleid = grouped.oid
WHERE grouped.rolname IN ('people_data', 'people_all');
"""
CREATE = f"""
\\getenv verifier PERSON_VERIFIER
CREATE ROLE :"name" LOGIN CONNECTION LIMIT {CONNECTIONS} PASSWORD :'verifier';
GRANT :"group" TO :"name";
"""
SET_LEVEL = """
REVOKE people_data, people_all FROM :"name";
GRANT :"group" TO :"name";
"""
RENEW = """
\\getenv verifier PERSON_VERIFIER
ALTER ROLE :"name" LOGIN PASSWORD :'verifier';
"""
DISABLE = """
ALTER ROLE :"name" NOLOGIN PASSWORD NULL;
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = :'name';
"""


class WarehousePlace(Place):
    """Members of `people_data` read raw, staging and marts; those of `people_all` the platform's records too."""

    name = "warehouse"
    kept_as = "WAREHOUSE_PASSWORD"
    levels: ClassVar[Levels] = {Role.VIEWER: "data", Role.SCIENTIST: "data", Role.ENGINEER: "all", Role.ADMIN: "all"}

    def __init__(self, runtime: StackRuntime) -> None:
        self._runtime = runtime

    def accounts(self) -> dict[str, Account]:
        """The members of the group roles."""
        return {name: Account(level, login == "t") for name, level, login in run_sql(self._runtime, DATABASE, FIND)}

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make a role that may sign in."""
        self._run(CREATE, person.name, level, secret)
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Make a role a member of this group alone."""
        self._run(SET_LEVEL, name, level)

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of a role, and let it sign in."""
        self._run(RENEW, name, secret=secret)
        return secret

    def disable(self, name: str) -> None:
        """Let a role sign in no more, and end its sessions."""
        self._run(DISABLE, name)

    def _run(self, script: str, name: str, level: str = "", secret: Secret | None = None) -> None:
        secrets = {"PERSON_VERIFIER": scram_verifier(secret)} if secret else {}
        run_sql(self._runtime, DATABASE, script, {"name": name, "group": GROUP + level}, secrets)
