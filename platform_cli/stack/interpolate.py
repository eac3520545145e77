"""Variables in compose files: `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`, as the Compose
specification has them (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret, Text, bcrypt_of, reveal, sha256_of

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<operator>:?[-?])(?P<operand>[^}]*))?\}|(?P<plain>[A-Za-z_]\w*))"
)
# what is computed from a secret NAME, by the ending that asks for it: ${NAME__BCRYPT}
_COMPUTED: dict[str, Callable[[Secret], Secret]] = {"__BCRYPT": bcrypt_of, "__SHA256": sha256_of}


def interpolate(text: str, variables: Mapping[str, Text], *, where: str) -> Text:
    """`text` with its variables replaced. The result is a `Secret` as soon as one of them is, so that a connection
    string with a password in it is redacted as a whole. `${NAME__BCRYPT}` is the bcrypt hash of the secret NAME,
    `${NAME__SHA256}` its SHA-256 in hex, for services that need to know a secret only when they see it.

    Raises:
        PlatformError: a variable has no value and no default; names the file.
    """
    tainted = False

    def value_of(match: re.Match[str]) -> str:
        nonlocal tainted
        if match["escaped"]:
            return "$"
        name = match["braced"] or match["plain"]
        operator, operand = match["operator"] or "", match["operand"] or ""
        found = _look_up(name, variables)
        if found is None or (operator.startswith(":") and not reveal(found)):
            if operator.endswith("-"):
                return operand
            raise PlatformError(f"variable {name} has no value" + (f": {operand}" if operand else ""), where=where)
        tainted = tainted or isinstance(found, Secret)
        return reveal(found)

    replaced = _VARIABLE.sub(value_of, text)
    return Secret(replaced) if tainted else replaced


def _look_up(name: str, variables: Mapping[str, Text]) -> Text | None:
    if name in variables:
        return variables[name]
    for ending, compute in _COMPUTED.items():
        secret = variables.get(name.removesuffix(ending))
        if name.endswith(ending) and isinstance(secret, Secret):
            return compute(secret)
    return None


def interpolate_tree(node: Any, variables: Mapping[str, Text], *, where: str) -> Any:
    """The same for every text in a tree of lists and mappings; keys are left alone."""
    if isinstance(node, str):
        return interpolate(node, variables, where=where)
    if isinstance(node, dict):
        return {key: interpolate_tree(value, variables, where=where) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate_tree(value, variables, where=where) for value in node]
    return node
