"""What a caller gets for a name, a version or an alias, and which aliases are deployments."""

from typing import Any

import pytest

from contract import CANARY_SHARE_TAG, SIGNATURE_CHANGE_TAG
from serving.errors import RequestError, VersionRefused
from serving.models.catalog import Catalog, Deployment, Failure, canary_share, failed, roles
from serving.models.compatibility import refuse_other_signature
from serving.models.model import ServedModel
from serving.models.signature import Field, Signature

FIELDS = (Field("carrier", "string", True), Field("hour", "integer", True), Field("temp", "double", False))


def served(version: int, role: str, *fields: Field, entity_key: str | None = None) -> ServedModel:
    engine: Any = None
    signature = Signature(fields or FIELDS)
    return ServedModel("m", version, role, "run", "d" * 64, signature, engine, None, entity_key, {})


CHAMPION, CANARY, SHADOW = served(2, "champion"), served(3, "canary"), served(4, "shadow")
ALL = Deployment(CHAMPION, CANARY, 0.1, SHADOW)


def refused(catalog: Catalog, name: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        catalog.find(name)
    return caught.value


def test_a_version_is_found_by_number_and_by_alias() -> None:
    assert ALL.versions() == [CHAMPION, CANARY, SHADOW]
    assert ALL.named("3", None) is CANARY
    assert ALL.named(None, "shadow") is SHADOW
    assert ALL.named("2", "champion") is CHAMPION


@pytest.mark.parametrize(
    ("version", "alias", "wanted"),
    [
        ("1", None, "no version '1' of"),
        ("02", None, "no version '02' of"),
        (None, "best", "no alias 'best' of"),
        ("2", "canary", "no version '2' and alias 'canary' of"),
    ],
)
def test_what_is_not_served_is_told_with_what_is(version: str | None, alias: str | None, wanted: str) -> None:
    with pytest.raises(RequestError) as caught:
        ALL.named(version, alias)
    assert caught.value.status == 404
    assert wanted in caught.value.message
    assert caught.value.message.endswith("served are: version 2 (champion), version 3 (canary), version 4 (shadow)")


def test_a_canary_without_a_champion_serves_when_it_is_named() -> None:
    catalog = Catalog({"m": Deployment(canary=CANARY)}, complete=True)
    assert catalog.find("m").champion is None
    assert catalog.find("m").named(None, "canary") is CANARY


def test_what_an_unknown_name_is_told_depends_on_what_is_known() -> None:
    error = refused(Catalog(), "m")
    assert (error.status, error.headers) == (503, {"Retry-After": "1"})
    assert "has not been read yet" in error.message
    assert refused(Catalog(complete=True), "m").status == 503, "nothing is served at all: it may be on its way"
    catalog = Catalog({"b": ALL, "a": ALL}, complete=True)
    error = refused(catalog, "m")
    assert (error.status, error.message) == (404, "no model 'm'; served are: a, b")
    error = refused(Catalog({"a": ALL}, wanted={"m": {"champion": 7}}), "m")
    assert (error.status, error.headers) == (503, {"Retry-After": "1"})
    assert "version 7 of 'm' is being loaded" in error.message
    error = refused(Catalog({"a": ALL}, {("m", "champion"): Failure(7, "champion", "no", 1, 0)}, {"m": {}}), "m")
    assert (error.status, error.headers) == (503, {})
    assert "version 7: no" in error.message
    assert "'m' has no champion yet" in refused(Catalog({"a": ALL}, wanted={"m": {"canary": 1}}), "m").message


def test_a_registered_model_is_known_even_if_it_does_not_serve() -> None:
    catalog = Catalog({"a": ALL}, wanted={"m": {}}, complete=True)
    catalog.known("a")
    catalog.known("m")
    with pytest.raises(RequestError) as caught:
        catalog.known("n")
    assert caught.value.status == 404
    with pytest.raises(RequestError) as caught:
        Catalog().known("n")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("aliases", "deployed"),
    [
        ({"champion": 2, "canary": 3, "shadow": 4, "best": 5}, {"champion": 2, "canary": 3, "shadow": 4}),
        ({"champion": 2, "canary": 2, "shadow": 2}, {"champion": 2}),
        ({"canary": 3, "shadow": 3}, {"canary": 3, "shadow": 3}),
        ({"best": 5}, {}),
    ],
)
def test_three_aliases_are_deployments(aliases: dict[str, int], deployed: dict[str, int]) -> None:
    assert roles(aliases) == deployed


@pytest.mark.parametrize(("tag", "share"), [(None, 0.1), ("0", 0.0), ("2.5", 0.025), (" 100 ", 1.0)])
def test_a_canary_gets_the_percentage_of_its_tag(tag: str | None, share: float) -> None:
    assert canary_share({} if tag is None else {CANARY_SHARE_TAG: tag}) == share


@pytest.mark.parametrize("tag", ["", "ten", "10%", "-1", "101", "nan", "inf"])
def test_a_share_that_is_none_is_told(tag: str) -> None:
    with pytest.raises(ValueError, match="expected percent as a number from 0 to 100"):
        canary_share({CANARY_SHARE_TAG: tag})


def test_each_try_comes_later_than_the_one_before() -> None:
    waits = []
    failure = None
    for _ in range(12):
        failure = failed(failure, 2, "champion", ConnectionError("reset"), now=0.0)
        waits.append(failure.retry_at)
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == waits[-2] == 600
    assert failed(failure, 3, "champion", VersionRefused("no"), now=5.0).retry_at == 65


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS,
        FIELDS[::-1],
        (*FIELDS, Field("new", "string", False)),
        (FIELDS[0], Field("hour", "long", True), FIELDS[2]),
        (FIELDS[0], Field("hour", "double", False), FIELDS[2]),
    ],
)
def test_a_signature_that_accepts_all_that_the_champions_does_passes(fields: tuple[Field, ...]) -> None:
    refuse_other_signature(CHAMPION, served(3, "champion", *fields), {})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (FIELDS[1:], "gone: carrier"),
        ((*FIELDS, Field("new", "string", True)), "new and required: new"),
        ((FIELDS[0], Field("hour", "string", True), FIELDS[2]), "hour was integer and is string"),
        ((*FIELDS[:2], Field("temp", "float", False)), "temp was double and is float"),
        ((*FIELDS[:2], Field("temp", "long", False)), "temp was double and is long"),
        ((*FIELDS[:2], Field("temp", "double", True)), "temp was optional and is required"),
        ((Field("hour", "boolean", True),), "gone: carrier, temp; hour was integer and is boolean"),
    ],
)
def test_any_other_signature_is_refused_unless_that_is_allowed(fields: tuple[Field, ...], told: str) -> None:
    other = served(3, "champion", *fields)
    with pytest.raises(VersionRefused) as caught:
        refuse_other_signature(CHAMPION, other, {SIGNATURE_CHANGE_TAG: "yes"})
    assert f"version 2, the champion, accepts: {told}. " in str(caught.value)
    assert "set its tag platform.signature_change to allowed" in str(caught.value)
    refuse_other_signature(CHAMPION, other, {SIGNATURE_CHANGE_TAG: "allowed"})


def test_an_entity_key_that_callers_send_must_stay_known() -> None:
    keyed = served(2, "champion", entity_key="flight_id")
    refuse_other_signature(keyed, served(3, "champion", entity_key="flight_id"), {})
    refuse_other_signature(keyed, served(3, "champion", *FIELDS, Field("flight_id", "string", False)), {})
    refuse_other_signature(served(2, "champion", entity_key="carrier"), served(3, "champion"), {})
    with pytest.raises(VersionRefused, match="the entity key flight_id is not known to it"):
        refuse_other_signature(keyed, served(3, "champion"), {})
