"""The errors that a user reads."""

from __future__ import annotations


class PlatformError(Exception):
    """Something failed: what is wrong, where, and what to do. `main` prints it and exits 1."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", do: str = "", detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.do = do
        self.detail = detail

    def lines(self) -> list[str]:
        """The message, a line a part; parts that are empty are left out."""
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.do:
            parts.append(f"  do:    {self.do}")
        return parts


class UsageError(PlatformError):
    """The call itself is wrong (an unknown service, a bad setting). Exits 2."""

    exit_code = 2
