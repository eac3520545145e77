"""What comes before a model is compiled along with it, and answers stay the model's own."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from serving.fast import tables
from serving.models.signature import Field, Signature
from tests.serving.fast.cases import CITIES, agree, labels, mixed, numbers, refuses_alike, target

STRINGS = ["city", "gate"]
OTHERS = ["a", "b", "c", "d", "e", "single", "whole"]
ENCODERS = {
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    "ordinal, unknown is NaN": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    "ordinal, few": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=4),
    "ordinal, frequent": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-5, min_frequency=20),
    "one hot": OneHotEncoder(handle_unknown="ignore"),
    "one hot, dense": OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="if_binary"),
    "one hot, few": OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4),
    "one hot, frequent": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.05, drop="first"),
    "target": TargetEncoder(cv=3),
    "filled, one hot": make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none", missing_values=None),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    "frequent, ordinal": make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=None),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=99),
    ),
}
SCALERS = {
    "standard": StandardScaler(),
    "only centred": StandardScaler(with_std=False),
    "min max": MinMaxScaler((-1, 2)),
    "max abs": MaxAbsScaler(),
    "robust": RobustScaler(with_centering=False),
    "twice": make_pipeline(MinMaxScaler(), StandardScaler()),
}
MONOTONE = {
    "clipped": MinMaxScaler(clip=True),
    "quantile": QuantileTransformer(n_quantiles=50, subsample=None),
    "bins": KBinsDiscretizer(7, encode="ordinal", quantile_method="averaged_inverted_cdf"),
}


def unseen(seed: int = 1) -> pd.DataFrame:
    """Rows with other categories, too: unknown ones and the empty string."""
    frame = mixed(seed)
    chance = np.random.default_rng(seed)
    others = pd.Series(chance.choice(np.array(["", "Oslo ", "oslo", "Łódź"], dtype=object), len(frame)))
    frame["city"] = frame["city"].where(chance.random(len(frame)) < 0.7, others)
    frame["gate"] = frame["gate"].where(chance.random(len(frame)) < 0.7, others)
    return frame


def trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_before_trees(name: str) -> None:
    columns = make_column_transformer((ENCODERS[name], STRINGS), remainder="passthrough", sparse_threshold=0)
    frame = mixed()
    agree(make_pipeline(columns, trees()).fit(frame, labels(frame)), frame, "trees", fresh=unseen())


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("large", [False, True], ids=["tables", "walk"])
def test_encoders_before_a_forest(name: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(tables, "MAX_BYTES", 0)
    frame = mixed()
    columns = make_column_transformer((ENCODERS[name], STRINGS), (SimpleImputer(), OTHERS), ("passthrough", ["late"]))
    model = make_pipeline(columns, RandomForestClassifier(15, random_state=0)).fit(frame, labels(frame, (0, 1, 2)))
    agree(model, frame, "trees", fresh=unseen())


@pytest.mark.parametrize("name", [name for name in ENCODERS if "NaN" not in name])
def test_encoders_before_a_linear_model(name: str) -> None:
    frame = mixed()
    encode = clone_with_filled_missing(ENCODERS[name])
    columns = make_column_transformer((encode, STRINGS), (make_pipeline(SimpleImputer(), StandardScaler()), OTHERS))
    model = make_pipeline(columns, LogisticRegression()).fit(frame, labels(frame, ("x", "y", "z")))
    agree(model, frame, "layers", fresh=unseen(), exact=False)


def clone_with_filled_missing(encoder: Any) -> Any:
    """A linear model takes no NaN, which is what an OrdinalEncoder makes of null by default."""
    if isinstance(encoder, OrdinalEncoder):
        return OrdinalEncoder(**(encoder.get_params() | {"encoded_missing_value": -3}))
    return encoder


def test_the_pipeline_of_the_sample() -> None:
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, max_categories=5
    )
    columns = ColumnTransformer([("categories", encoder, STRINGS)], remainder="passthrough")
    model = HistGradientBoostingClassifier(categorical_features=[0, 1], max_iter=30, min_samples_leaf=5)
    frame = mixed()
    pipeline = Pipeline([("columns", columns), ("trees", model)]).fit(frame, labels(frame))
    assert encoder.__class__ is OrdinalEncoder and len(
        columns.named_transformers_["categories"].infrequent_categories_[0]
    )
    agree(pipeline, frame, "trees", fresh=unseen())


@pytest.mark.parametrize("name", SCALERS)
def test_scalers(name: str) -> None:
    frame, fresh = numbers(), numbers(seed=1)
    for model, goal, kind in (
        (trees(), labels(frame), "trees"),
        (RandomForestClassifier(10, random_state=0), labels(frame), "trees"),
        (Ridge(), target(frame), "layers"),
    ):
        agree(make_pipeline(SCALERS[name], model).fit(frame, goal), frame, kind, fresh=fresh, exact=kind == "trees")


@pytest.mark.parametrize("name", MONOTONE)
def test_what_else_does_not_fall_before_trees(name: str) -> None:
    frame, fresh = numbers()[OTHERS], numbers(seed=1)[OTHERS]
    agree(make_pipeline(MONOTONE[name], trees()).fit(frame, labels(frame)), frame, "trees", fresh=fresh)


@pytest.mark.parametrize("imputer", [SimpleImputer(), SimpleImputer(strategy="median", add_indicator=True)])
def test_missing_numbers_are_filled(imputer: Any) -> None:
    frame, fresh = numbers(gaps=True), numbers(seed=1, gaps=True)
    scaled = make_pipeline(imputer, StandardScaler())
    agree(make_pipeline(scaled, trees()).fit(frame, labels(frame)), frame, "trees", fresh=fresh)
    agree(make_pipeline(scaled, Ridge()).fit(frame, target(frame)), frame, "layers", fresh=fresh, exact=False)


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "whole"],
        [0, 6],
        slice("a", "c"),
        slice(2, 5),
        [True, False, True] + [False] * 6 + [True],
        make_column_selector(dtype_include=np.number),
        make_column_selector(pattern="^[a-c]$"),
    ],
    ids=str,
)
def test_columns_chosen_in_every_way(columns: Any) -> None:
    frame = mixed().drop(columns="single")
    frame = frame.assign(more=frame["b"] * 2)
    chosen = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), STRINGS),
        ("drop", ["e"]),
        (StandardScaler(), columns) if "city" not in frame.columns[_places(columns, frame)] else ("passthrough", ["a"]),
    )
    agree(make_pipeline(chosen, trees()).fit(frame, labels(frame)), frame, "trees")


def _places(columns: Any, frame: pd.DataFrame) -> Any:
    if callable(columns):
        return frame.columns.isin(columns(frame))
    if isinstance(columns, slice):
        return frame.columns.slice_indexer(columns.start, columns.stop) if isinstance(columns.start, str) else columns
    return frame.columns.isin(columns) if isinstance(columns[0], str) else np.array(columns)


def test_a_number_as_a_category_and_as_a_number() -> None:
    frame = mixed()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", max_categories=6), ["whole", "late"]),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "gate", "whole"]),
        (StandardScaler(), ["whole", "a", "b"]),
        ("passthrough", ["whole", "single"]),
        sparse_threshold=0,
    )
    fresh = unseen().assign(whole=lambda f: f["whole"] * 2 - 7)
    agree(make_pipeline(columns, trees()).fit(frame, labels(frame)), frame, "trees", fresh=fresh)


def test_features_are_selected() -> None:
    frame = mixed()
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), STRINGS), (SimpleImputer(), OTHERS)
    )
    model = make_pipeline(encode, SelectKBest(k=6), "passthrough", trees()).fit(frame, labels(frame))
    agree(model, frame, "trees", fresh=unseen())


def test_steps_that_hand_on_frames() -> None:
    frame = mixed()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, STRINGS), remainder="passthrough").set_output(transform="pandas")
    agree(make_pipeline(columns, trees()).fit(frame, labels(frame)), frame, "trees", fresh=unseen())


def test_a_category_that_is_an_error_is_one() -> None:
    frame = mixed().drop(columns="gate")
    columns = make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, trees()).fit(frame, labels(frame))
    refuses_alike(model, frame, frame.head(1).assign(city="Paris"))
    agree(model, frame, "trees", fresh=mixed(seed=1).drop(columns="gate"))


def test_null_where_there_was_none_in_training() -> None:
    frame = mixed()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, ["city", "gate"]), remainder="passthrough")
    model = make_pipeline(columns, trees()).fit(frame.assign(city=CITIES[0]), labels(frame))
    agree(model, frame.assign(city=frame["city"].where(frame["a"] > 0, None)), "trees")


def test_integers_and_booleans_that_may_be_null() -> None:
    def gaps(seed: int) -> pd.DataFrame:
        frame = mixed(seed)[["whole", "late", "a", "b"]]
        return frame.assign(
            whole=frame["whole"].astype("Int64").mask(frame["b"] > 1),
            late=frame["late"].astype(object).mask(frame["b"] < -1, None),
        )

    signature = Signature(
        [
            Field("whole", "long", False),
            Field("late", "boolean", False),
            Field("a", "double", False),
            Field("b", "double", True),
        ]
    )
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, ["late"]), remainder="passthrough")
    frame = gaps(0)
    trained = frame.assign(whole=frame["whole"].astype(float), late=frame["late"].where(frame["late"].notna(), None))
    model = make_pipeline(columns, trees()).fit(trained, labels(mixed()))
    agree(model, frame, "trees", fresh=gaps(1), signature=signature)


def test_a_date_that_is_dropped() -> None:
    frame = numbers().assign(day=pd.Timestamp("2013-07-01"))
    model = make_pipeline(make_column_transformer(("drop", ["day"]), remainder="passthrough"), trees())
    agree(model.fit(frame, labels(numbers())), frame, "trees")


def test_what_skops_gives_back_is_compiled(tmp_path: Any) -> None:
    frame = mixed()
    columns = make_column_transformer((ENCODERS["ordinal, few"], STRINGS), remainder="passthrough")
    skops.io.dump(make_pipeline(columns, trees()).fit(frame, labels(frame)), tmp_path / "model.skops")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    agree(skops.io.load(tmp_path / "model.skops", trusted=trusted), frame, "trees", fresh=unseen())
