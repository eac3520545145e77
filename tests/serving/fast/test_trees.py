"""Compiled trees answer as the ensemble's own predict does, to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.fast import tables, walk
from serving.models.model import make_frame
from serving.models.signature import Field, Signature
from tests.serving.fast.cases import (
    agree,
    compiled,
    labels,
    mixed,
    numbers,
    refuses_alike,
    rows_of,
    signature_of,
    target,
)

CLASSIFIERS: list[Callable[[], Any]] = [
    lambda: HistGradientBoostingClassifier(max_iter=20),
    lambda: RandomForestClassifier(20, random_state=0),
    lambda: ExtraTreesClassifier(20, random_state=0),
    lambda: GradientBoostingClassifier(n_estimators=20),
    lambda: DecisionTreeClassifier(random_state=0),
]
REGRESSORS: list[Callable[[], Any]] = [
    lambda: HistGradientBoostingRegressor(max_iter=20),
    lambda: RandomForestRegressor(20, random_state=0),
    lambda: ExtraTreesRegressor(20, random_state=0),
    lambda: GradientBoostingRegressor(n_estimators=20),
    lambda: DecisionTreeRegressor(random_state=0),
]


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("classes", [(0, 1), ("no", "yes"), (False, True), (3, 5, 9), ("early", "late", "on time")])
@pytest.mark.parametrize("make", CLASSIFIERS, ids=lambda make: type(make()).__name__)
def test_classifiers(make: Callable[[], Any], classes: tuple[Any, ...], gaps: bool) -> None:
    if gaps and isinstance(make(), GradientBoostingClassifier):
        gaps = False  # it takes none
    frame = numbers(gaps=gaps)
    agree(make().fit(frame, labels(frame, classes)), frame, "trees", fresh=numbers(seed=1, gaps=gaps))


@pytest.mark.parametrize("make", REGRESSORS, ids=lambda make: type(make()).__name__)
def test_regressors(make: Callable[[], Any]) -> None:
    frame = numbers()
    agree(make().fit(frame, target(frame)), frame, "trees", fresh=numbers(seed=1))


@pytest.mark.parametrize("loss", ["poisson", "gamma", "absolute_error", "quantile"])
def test_boosting_with_another_loss(loss: str) -> None:
    frame = numbers(gaps=True)
    model = HistGradientBoostingRegressor(loss=loss, quantile=0.3, max_iter=10)
    agree(model.fit(frame, np.exp(target(frame) / 4)), frame, "trees")


def test_boosting_with_the_exponential_loss() -> None:
    frame = numbers()
    agree(GradientBoostingClassifier(loss="exponential", n_estimators=15).fit(frame, labels(frame)), frame, "trees")


@pytest.mark.parametrize("init", ["zero", DummyRegressor(strategy="quantile", quantile=0.2)], ids=["zero", "dummy"])
def test_boosting_from_another_start(init: Any) -> None:
    frame = numbers()
    agree(GradientBoostingRegressor(init=init, n_estimators=15).fit(frame, target(frame)), frame, "trees")


def test_values_on_thresholds_and_next_to_them_go_the_way_the_model_sends_them() -> None:
    frame = numbers()
    model = RandomForestClassifier(10, random_state=0).fit(frame, labels(frame))
    thresholds = np.concatenate([tree.tree_.threshold[tree.tree_.feature == 0] for tree in model.estimators_])
    below, above = np.nextafter(thresholds, -np.inf), np.nextafter(thresholds, np.inf)
    half = np.spacing(thresholds.astype(np.float32)).astype(float) / 2  # where rounding to float32 changes sides
    values = np.concatenate([thresholds, below, above, thresholds + half, thresholds - half])
    fresh = frame.iloc[np.arange(len(values)) % len(frame)].reset_index(drop=True).assign(a=values)
    agree(model, frame, "trees", fresh=fresh)


def test_extremes() -> None:
    frame = numbers()
    model = HistGradientBoostingClassifier(max_iter=10).fit(frame, labels(frame))
    values = [1e300, -1e300, 5e-324, 0.0, -0.0, float(np.finfo(float).max), 3.5e38]
    fresh = pd.concat([frame.head(9).assign(a=value, b=value) for value in values], ignore_index=True)
    agree(model, frame, "trees", fresh=fresh.assign(whole=[-(2**63), 2**63 - 1, 0] * 21))


def test_what_overflows_float32_is_refused_by_forests() -> None:
    frame = numbers()
    model = RandomForestRegressor(5, random_state=0).fit(frame, target(frame))
    refuses_alike(model, frame, frame.head(1).assign(b=1e300))
    agree(model, frame, "trees", fresh=frame.head(60).assign(b=3.4028234e38))


def test_null_is_refused_by_a_model_that_does_not_take_it() -> None:
    frame = numbers()
    model = GradientBoostingClassifier(n_estimators=5).fit(frame, labels(frame))
    signature = Signature(Field(field.name, field.type, field.name != "a") for field in signature_of(frame).fields)
    engine, own = compiled(model, frame, signature)
    assert engine is not None
    record = rows_of(frame.head(1).assign(a=np.nan))
    for way in (engine, own):
        with pytest.raises(Exception, match=r"missing|NaN"):
            way.predict(way.encode(record))


def test_a_tree_of_more_than_64_leaves_is_several_words() -> None:
    frame = numbers(rows=4000)
    model = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=200, min_samples_leaf=3)
    model.fit(frame, labels(frame, (0, 1, 2)))
    assert max(tree.get_n_leaf_nodes() for trees in model._predictors for tree in trees) > 128
    agree(model, frame, "trees", fresh=numbers(seed=1))


@pytest.mark.parametrize("large", [False, True], ids=["tables", "walk"])
def test_more_rows_than_are_taken_at_a_time(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = numbers()
    model = RandomForestClassifier(5, random_state=0).fit(frame, labels(frame))
    if large:
        monkeypatch.setattr(tables, "MAX_BYTES", 0)
    for size in (1, 2000, 20_000):
        monkeypatch.setattr(tables, "_BLOCK_BYTES", size)
        monkeypatch.setattr(walk, "_BLOCK", size // 100)
        agree(model, frame, "trees")


@pytest.mark.parametrize("leaves", [2, 8, 9, 32, 33, 64, 65])
def test_words_of_every_size(leaves: int) -> None:
    frame = numbers(rows=2000)
    model = HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=leaves, min_samples_leaf=1)
    model.fit(frame, target(frame))
    assert model._predictors[0][0].get_n_leaf_nodes() == leaves
    agree(model, frame, "trees", fresh=numbers(seed=1))


def test_trees_that_never_split() -> None:
    frame = numbers()
    agree(HistGradientBoostingRegressor(max_iter=2).fit(frame, np.full(len(frame), 2.5)), frame, "trees")
    agree(DecisionTreeClassifier().fit(frame, np.zeros(len(frame), int)), frame, "trees")


@pytest.mark.parametrize("make", [*CLASSIFIERS, *REGRESSORS], ids=lambda make: type(make()).__name__)
def test_forests_that_are_too_large_for_tables_are_walked_through(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 0)
    frame = numbers(gaps=not isinstance(make(), (GradientBoostingClassifier, GradientBoostingRegressor)))
    goal = labels(frame, (3, 5, 9)) if make in CLASSIFIERS else target(frame)
    agree(make().fit(frame, goal), frame, "trees", fresh=numbers(seed=1, gaps=frame["a"].isna().any()))


def test_categories_of_the_model_itself() -> None:
    frame = numbers(gaps=True).assign(
        whole=lambda f: f["whole"] % 7, d=lambda f: (f["d"] * 2).round().where(f["d"] > -1)
    )
    model = HistGradientBoostingClassifier(categorical_features=["whole", "d"], max_iter=20, min_samples_leaf=3)
    model.fit(frame, labels(frame))
    fresh = numbers(seed=1, gaps=True).assign(
        whole=lambda f: f["whole"] % 11 - 2, d=lambda f: (f["d"] * 3).round().where(f["d"] > -1)
    )
    assert {"whole", "d"} <= set(frame.columns) and not set(fresh["whole"]) <= set(frame["whole"])
    agree(model, frame, "trees", fresh=fresh)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_a_tensor(dtype: type) -> None:
    matrix = (numbers()[list("abcde")].to_numpy() * 10).astype(dtype)
    model = HistGradientBoostingClassifier(max_iter=10).fit(matrix, labels(numbers()))
    agree(model, pd.DataFrame(matrix, columns=range(5)), "trees", signature=signature_of(matrix))


def test_what_skops_gives_back_is_compiled(tmp_path: Any) -> None:
    frame = numbers(gaps=True)
    model = HistGradientBoostingClassifier(max_iter=10).fit(frame, labels(frame, ("a", "b", "c")))
    skops.io.dump(model, tmp_path / "model.skops")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    agree(skops.io.load(tmp_path / "model.skops", trusted=trusted), frame, "trees")


def test_columns_that_no_tree_asks_for_are_not_looked_at() -> None:
    frame = numbers()
    model = HistGradientBoostingRegressor(max_iter=10).fit(frame, frame["a"] * 2)
    engine = agree(model, frame, "trees")
    assert engine.encode(rows_of(frame)).shape[0] < frame.shape[1]


def test_a_frame_is_made_as_the_model_gets_it() -> None:
    frame = mixed()
    assert make_frame(signature_of(frame), rows_of(frame)).equals(frame)
