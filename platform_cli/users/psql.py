"""PostgreSQL by its own client, as the service `postgres-init` calls it: in its environment, as the superuser."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import subprocess
from collections.abc import Mapping

from platform_cli.errors import PlatformError
from platform_cli.home import REPO
from platform_cli.runtime import StackRuntime
from platform_cli.stack.secrets import Secret

SERVICE = "postgres-init"
CLIENT = ("compose/postgres/with-postgres.sh", "psql")
OPTIONS = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--field-separator=\t", "--set=ON_ERROR_STOP=1")
LIMITS = {"PGCONNECT_TIMEOUT": "10", "PGOPTIONS": "-c statement_timeout=30s"}
ITERATIONS = 4096


def run_sql(
    runtime: StackRuntime,
    database: str,
    script: str,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
) -> list[list[str]]:
    """Run a script in one transaction; the rows that it prints.

    Args:
        variables: psql's variables, for :'name' and :"name" in the script.
        secrets: variables of its environment, which a script takes up with \\getenv.

    Raises:
        PlatformError: PostgreSQL is away, or refused a statement; nothing was changed.
    """
    named = [f"--set={name}={value}" for name, value in (variables or {}).items()]
    hidden = {name: secret.reveal() for name, secret in (secrets or {}).items()}
    words = [*CLIENT, *OPTIONS, "--single-transaction", *named, f"--dbname={database}", "--file=-"]
    program = runtime.within(SERVICE, words, keep=[*LIMITS, *hidden])
    done = subprocess.run(
        program.command,
        input=script,
        env={**program.environment, **LIMITS, **hidden},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise _failed(done.stderr, database)
    return [line.split("\t") for line in done.stdout.splitlines() if line]


def _failed(errors: str, database: str) -> PlatformError:
    """What psql said, as a message."""
    refused = re.search(r"^psql:<stdin>:\d+: ERROR: +(.*)$", errors, re.MULTILINE)
    if refused:
        return PlatformError(
            f"PostgreSQL refused: {refused[1]}", where=f"the database {database}", do="see `platform logs postgres`"
        )
    return PlatformError(
        f"PostgreSQL does not answer ({' '.join(errors.split())})",
        where=f"the database {database}",
        do="look at `platform status`",
    )


def scram_verifier(password: Secret) -> Secret:
    """What PostgreSQL keeps of a password, so that the password itself is in no statement, and so in no log of a
    statement (https://www.postgresql.org/docs/18/catalog-pg-authid.html)."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return Secret(f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}")
