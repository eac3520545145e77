"""What opens the accounts of people's programs, kept by the platform: one file a person, for the owner alone.

People know their own passwords and nobody else does. Programs cannot be asked for one, and a workspace is started again
without its person; so they have accounts of their own, whose secrets can be read here and taken back one by one."""

from __future__ import annotations

from platform_cli.home import Home
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.secrets import Secret, write_private


class Kept:
    """The kept secrets of one stack."""

    def __init__(self, home: Home) -> None:
        self._directory = home.people

    def read(self, name: str) -> dict[str, Secret]:
        """Variable → secret, of one person's programs."""
        file = self._directory / f"{name}.env"
        return {key: Secret(value) for key, value in read_env_file(file).items()} if file.exists() else {}

    def put(self, name: str, variable: str, secret: Secret) -> None:
        """Keep a secret, in the place of the one before."""
        self._write(name, self.read(name) | {variable: secret})

    def drop(self, name: str, variable: str) -> None:
        """Forget a secret; the file goes with the last one."""
        self._write(name, {key: value for key, value in self.read(name).items() if key != variable})

    def _write(self, name: str, secrets: dict[str, Secret]) -> None:
        file = self._directory / f"{name}.env"
        if not secrets:
            file.unlink(missing_ok=True)
            return
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_private(file, "".join(f"{key}={value.reveal()}\n" for key, value in sorted(secrets.items())))
