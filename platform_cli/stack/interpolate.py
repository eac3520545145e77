"""Variables in compose files: `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`, as the Compose
specification has them (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret, Text, bcrypt_of, reveal

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<operator>:?[-?])(?P<operand>[^}]*))?\}|(?P<plain>[A-Za-z_]\w*))"
)
_BCRYPT = "__BCRYPT"


def interpolate(text: str, variables: Mapping[str, Text], *, where: str) -> Text:
    """`text` with its variables replaced. The result is a `Secret` as soon as one of them is, so that a connection
    string with a password in it is redacted as a whole. `${NAME__BCRYPT}` is the bcrypt hash of the secret NAME.

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
    secret = variables.get(name.removesuffix(_BCRYPT))
    if name.endswith(_BCRYPT) and isinstance(secret, Secret):
        return bcrypt_of(secret)
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
