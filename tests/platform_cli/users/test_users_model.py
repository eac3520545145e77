"""Names and addresses that a person may have."""

from __future__ import annotations

import pytest

from platform_cli.errors import UsageError
from platform_cli.users.model import check_email, check_name


@pytest.mark.parametrize("name", ["ana", "a", "7", "ana-maria", "a-1-b", "x" * 32])
def test_a_name_that_every_service_takes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("Ana", "ana"),
        ("ana.maria", "ana-maria"),
        ("ana_maria", "ana-maria"),
        ("ana--maria", "ana-maria"),
        ("-ana-", "ana"),
        ("x" * 33, "x" * 32),
        ("ana;DROP", "ana-drop"),
        ("Admin", "another name"),
        ("", "another name"),
        ("é", "another name"),
        ("ana\n", "ana"),
    ],
)
def test_another_name_is_refused_with_one_like_it(name: str, instead: str) -> None:
    with pytest.raises(UsageError, match="is no name that every service takes") as refused:
        check_name(name)
    assert instead in refused.value.do


@pytest.mark.parametrize("name", ["admin", "pipelines", "postgres", "serving", "platform", "prometheus", "coder"])
def test_a_name_of_the_platforms_own_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="an account of the platform itself"):
        check_name(name)


@pytest.mark.parametrize("email", ["ana", "ana@localhost", "ana @example.com", "@example.com", "a@b@c.d"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(UsageError, match="is no e-mail address"):
        check_email(email)
    assert check_email("ana@example.com") == "ana@example.com"
