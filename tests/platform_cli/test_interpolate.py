from __future__ import annotations

import pytest

from platform_cli.errors import PlatformError
from platform_cli.stack.interpolate import interpolate, interpolate_tree
from platform_cli.stack.secrets import Secret, bcrypt_of

VARIABLES = {"A": "one", "EMPTY": "", "S": Secret("hidden")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "one"),
        ("$A/x", "one/x"),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("${B:-two}", "two"),
        ("${B-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY-two}", ""),
        ("${A:-two}", "one"),
        ("${A:?needed}", "one"),
        ("costs 5$", "costs 5$"),
    ],
)
def test_variables_as_compose_has_them(text: str, expected: str) -> None:
    assert interpolate(text, VARIABLES, where="f") == expected


@pytest.mark.parametrize("text", ["${B}", "$B", "${B:?set B}", "${EMPTY:?set it}", "${B?set B}"])
def test_a_variable_without_a_value_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(PlatformError, match="has no value") as caught:
        interpolate(text, VARIABLES, where="compose/x.yml")
    assert caught.value.where == "compose/x.yml"


def test_a_text_with_a_secret_in_it_is_a_secret() -> None:
    result = interpolate("postgresql://u:${S}@h/d", VARIABLES, where="f")
    assert isinstance(result, Secret)
    assert result.reveal() == "postgresql://u:hidden@h/d"


def test_a_secret_that_looks_like_a_variable_is_not_replaced_again() -> None:
    assert interpolate("${S}", {"S": Secret("$A${A}")}, where="f") == Secret("$A${A}")


def test_hashes_of_a_secret() -> None:
    assert interpolate("${S__BCRYPT}", VARIABLES, where="f") == bcrypt_of(Secret("hidden"))
    # printf hidden | sha256sum
    digest = "e564b4081d7a9ea4b00dada53bdae70c99b87b6fce869f0c3dd4d2bfa1e53e1c"
    assert interpolate("me:${S__SHA256}", VARIABLES, where="f") == Secret(f"me:{digest}")


@pytest.mark.parametrize("text", ["${A__SHA256}", "${A__BCRYPT}", "${B__SHA256}", "${__SHA256}", "${S__MD5}"])
def test_only_a_secret_has_a_hash(text: str) -> None:
    with pytest.raises(PlatformError, match="has no value"):
        interpolate(text, VARIABLES, where="f")


def test_a_tree_keeps_its_shape() -> None:
    tree = {"${A}": ["${A}", 3, None, {"x": "${A}"}]}
    assert interpolate_tree(tree, VARIABLES, where="f") == {"${A}": ["one", 3, None, {"x": "one"}]}
