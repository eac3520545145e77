"""What cannot be compiled, or answers otherwise then, is left to the model's own predict, and the log says why."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from serving.fast import compile_fast, forest, probe, tables, verify, walk
from serving.fast.cells import Cells
from serving.fast.forest import Forest
from serving.fast.layers import Layers
from serving.models.model import Estimator, Scores
from tests.serving.fast.cases import compiled, labels, mixed, numbers, part, reason, rows_of, signature_of, target


class Constant(ClassifierMixin, BaseEstimator):
    def fit(self, _: Any, y: Any) -> "Constant":
        self.classes_ = np.unique(y)
        return self

    def predict(self, frame: Any) -> np.ndarray:
        return self.classes_[np.zeros(len(frame), int)]


class Doubled(LinearRegression):
    def predict(self, frame: Any) -> np.ndarray:
        return 2 * super().predict(frame)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (KNeighborsClassifier(), "KNeighborsClassifier is not compiled"),
        (Constant(), "Constant is not compiled"),
        (Doubled(), "Doubled is not compiled"),
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.9), "FixedThresholdClassifier is not compiled"),
        (make_pipeline(PCA(2), LogisticRegression()), "PCA is a step that is not compiled"),
        (make_pipeline(PolynomialFeatures(2), Ridge()), "PolynomialFeatures is a step that is not compiled"),
        (make_pipeline(FunctionTransformer(np.sqrt), Ridge()), "FunctionTransformer is a step that is not compiled"),
        (make_pipeline(MinMaxScaler(clip=True), Ridge()), "a number is not scaled linearly"),
        (make_pipeline(StandardScaler(), OrdinalEncoder(), Ridge()), "scaled before it is encoded as a category"),
        (GradientBoostingRegressor(init=Ridge(), n_estimators=2), "it starts from a Ridge"),
    ],
    ids=str,
)
def test_what_is_not_covered(model: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers().drop(columns="single")
    assert why in reason(model.fit(frame.abs(), labels(frame)), frame, caplog)


def test_a_date_is_not_covered(caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers().assign(day=pd.date_range("2013-01-01", periods=300))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(make_column_transformer((encoder, ["day"]), remainder="passthrough"), Ridge())
    assert "'day' is a datetime and a category" in reason(model.fit(frame, target(numbers())), frame, caplog)


@pytest.mark.parametrize("model", [LinearRegression(), RandomForestRegressor(2)], ids=str)
def test_several_outputs_are_not_covered(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers()
    assert "several" in reason(model.fit(frame, np.stack([target(frame)] * 2, axis=1)), frame, caplog)


def test_a_signature_in_another_order_is_not_covered(caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers()
    columns = make_column_transformer(("passthrough", list("abcde")))
    model = make_pipeline(columns, Ridge()).fit(frame, target(frame))
    assert "in another order" in reason(model, frame[frame.columns[::-1]], caplog)


def test_what_is_too_large_is_not_covered(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 0)
    monkeypatch.setattr(walk, "MAX_NODES", 10)
    frame = numbers()
    model = RandomForestRegressor(2).fit(frame, target(frame))
    assert "more than 10" in reason(model, frame, caplog)


def test_too_many_categories_are_not_covered(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_CELLS", 30)
    frame = mixed()[["city", "b"]]
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, Ridge()).fit(frame, target(frame))
    assert "too many categories" in reason(model, frame, caplog)


def changed_forest(**change: Callable[[Forest], np.ndarray]) -> Callable[[Any], Forest]:
    read = forest.read

    def reading(model: Any) -> Forest:
        trained = read(model)
        return dataclasses.replace(trained, **{name: made(trained) for name, made in change.items()})

    return reading


def one_of(values: np.ndarray, place: Any, value: Any) -> np.ndarray:
    values = values.copy()
    values[place] = value
    return values


def most_asked(trained: Forest) -> int:
    """The root of the first tree."""
    return int(trained.roots[0])


CHANGES: dict[str, dict[str, Callable[[Forest], np.ndarray]]] = {
    "a threshold by one place": {
        "threshold": lambda f: one_of(f.threshold, most_asked(f), np.nextafter(f.threshold[most_asked(f)], np.inf))
    },
    "the way of null": {"missing_left": lambda f: ~f.missing_left},
    "a node's feature": {"feature": lambda f: one_of(f.feature, most_asked(f), (f.feature[most_asked(f)] + 1) % 5)},
    "the leaves": {"values": lambda f: f.values * 1.001},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_trees_are_found_out(
    change: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frame = numbers(gaps=True)[list("abcde")]
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, labels(frame))
    assert compiled(model, frame)[0] is not None
    monkeypatch.setattr(forest, "read", changed_forest(**CHANGES[change]))
    assert "Differs: " in reason(model, frame, caplog)


def test_a_changed_category_is_found_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    frame = mixed()[["city", "a"]]
    columns = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), remainder="passthrough"
    )
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20)).fit(frame, frame["city"] == "Oslo")
    assert compiled(model, frame)[0] is not None
    encode = Cells.encode

    def exchanged(cells: Cells, rows: Any) -> np.ndarray:
        cities = ["Oslo" if city == "Rome" else city for city in rows.columns["city"]]
        return encode(cells, dataclasses.replace(rows, columns=rows.columns | {"city": cities}))

    monkeypatch.setattr(Cells, "encode", exchanged)
    assert "Differs: " in reason(model, frame, caplog)


def test_changed_weights_are_found_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers()
    model = LogisticRegression().fit(frame, labels(frame))
    raw = Layers.raw
    monkeypatch.setattr(Layers, "raw", lambda self, cells: raw(self, cells) * 1.00001)
    assert "Differs: " in reason(model, frame, caplog)


def test_labels_of_another_type_are_found_out() -> None:
    frame = numbers()
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, labels(frame, (False, True)))
    engine, own = compiled(model, frame)
    assert engine is not None

    class Numbers:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def predict(self, encoded: Any) -> Scores:
            scores = engine.predict(encoded)
            return Scores([int(value) for value in scores.predictions], scores.probabilities)

    with pytest.raises(verify.Differs):
        verify.verify(Numbers(), own, signature_of(frame), rows_of(frame.head(3)))  # type: ignore[arg-type]


def test_a_model_that_refuses_what_is_compiled_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    frame = numbers()
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, labels(frame))

    class Choosy(Estimator):
        def predict(self, encoded: Any) -> Scores:
            if any(value > 1e30 for value in encoded.columns["a"]):
                encoded = dataclasses.replace(encoded, columns={})
            return super().predict(encoded)

    signature = signature_of(frame)
    own = Choosy(model, signature)
    assert compile_fast(model, signature, part(rows_of(frame), 0, 3), own) is None
    assert "its own predict fails on what the compiled one takes" in caplog.messages[-1]


def test_an_engine_computes_in_several_threads_at_once() -> None:
    frame = mixed()
    columns = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "gate"]),
        remainder="passthrough",
    )
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20)).fit(frame, labels(frame, (0, 1, 2)))
    engine, own = compiled(model, frame)
    assert engine is not None
    rows = rows_of(frame)
    expected = own.predict(rows)
    wrong: list[int] = []
    start = threading.Barrier(4)

    def compute(first: int) -> None:
        start.wait()
        for step in range(100):
            at = (first * 67 + step * 3) % 250
            scores = engine.predict(engine.encode(part(rows, at, at + 1 + step % 40)))
            if scores != expected.part(at, at + 1 + step % 40):
                wrong.append(at)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
