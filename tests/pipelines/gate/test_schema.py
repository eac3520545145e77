from __future__ import annotations

import pandas as pd
import pytest

from pipelines.gate import schema
from pipelines.gate.schema import Changes, Field, Schema
from pipelines.models import model_store
from pipelines.project import FeatureType

DECLARED: dict[str, FeatureType] = {"country": "category", "price": "number", "items": "integer"}
FIELDS = {
    "country": Field("country", "string", required=False),
    "price": Field("price", "double", required=True),
    "items": Field("items", "long", required=True),
}


def made(**changed: Field | None) -> Schema:
    """The usual inputs, some replaced, added or (None) taken away."""
    return Schema(tuple(field for field in (FIELDS | changed).values() if field), "classification")


def test_the_inputs_of_a_signature_are_read() -> None:
    x = pd.DataFrame({"country": pd.Series(["de", None], dtype=object), "price": [1.0, 2.0], "items": [1, 2]})
    assert Schema.of(model_store.signature(x, "classification")) == made()
    assert Schema.of(model_store.signature(x, "regression")).task == "regression"
    assert Schema.of(None).fields == ()


@pytest.mark.parametrize(
    ("candidate", "named"),
    [
        (made(), []),
        (made(items=Field("items", "double", required=False)), []),
        (made(items=None), ["the declared feature items is not among its inputs"]),
        (made(size=Field("size", "double", required=True)), ["its input size is not declared"]),
        (
            made(price=Field("price", "string", required=True)),
            ["it takes price as string, which is declared as number"],
        ),
    ],
)
def test_a_candidate_takes_what_is_declared(candidate: Schema, named: list[str]) -> None:
    assert schema.against_declaration(candidate, DECLARED) == named


def test_what_the_declaration_asks_for_is_no_problem_and_is_named() -> None:
    without = {name: kind for name, kind in DECLARED.items() if name != "items"}
    assert schema.against_champion(made(items=None), made(), without) == Changes([], ["the feature items was dropped"])
    new = Field("size", "double", required=True)
    assert schema.against_champion(made(size=new), made(), DECLARED | {"size": "number"}) == Changes(
        [], ["the feature size is new and required"]
    )
    optional = Field("size", "double", required=False)
    assert schema.against_champion(made(size=optional), made(), DECLARED | {"size": "number"}) == Changes()
    text = Field("price", "string", required=True)
    assert schema.against_champion(made(price=text), made(), DECLARED | {"price": "category"}) == Changes(
        [], ["the feature price was double and is string"]
    )


def test_a_candidate_that_is_stricter_by_chance_is_a_problem() -> None:
    strict = made(country=Field("country", "string", required=True))
    assert schema.against_champion(strict, made(), DECLARED) == Changes(
        ["country may be missing for the champion and is required by the candidate"]
    )
    loose = made(items=Field("items", "double", required=False))
    assert schema.against_champion(made(), loose, DECLARED) == Changes(["items was double and is long"])
    assert schema.against_champion(loose, made(), DECLARED) == Changes()


def test_a_champion_that_cannot_be_asked_says_why() -> None:
    assert schema.incomparable(made(), "classification", DECLARED) == []
    assert schema.incomparable(made(), "classification", DECLARED | {"size": "number"}) == []
    assert schema.incomparable(made(), "regression", DECLARED) == ["it is a classification"]
    now: dict[str, FeatureType] = {"country": "category", "items": "category"}
    assert schema.incomparable(made(), "classification", now) == [
        "it needs price, no longer declared",
        "it takes items as long, declared otherwise now",
    ]
