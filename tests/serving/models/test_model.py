"""Predictions are the estimator's own, for every kind of estimator that is served."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import Perceptron
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.errors import VersionRefused
from serving.models.model import Estimator, PredictionFailed, Scores, make_frame
from serving.models.signature import Field, Rows, Signature
from tests.serving.conftest import classifier, regressor, training_frame

SIGNATURE = Signature(
    [
        Field("carrier", "string", True),
        Field("hour", "long", True),
        Field("temp", "double", False),
        Field("distance", "double", True),
    ]
)
NUMBERS = Signature([Field("a", "double", True)])


def outcome(model: Any) -> Scores:
    records = training_frame().replace({np.nan: None}).to_dict(orient="records")
    return Estimator(model, SIGNATURE).predict(SIGNATURE.check(records, None))


def numbers(*values: float) -> Rows:
    return Rows(len(values), {"a": list(values)}, [None] * len(values))


def test_a_binary_classifier_gives_its_class_and_the_probability_of_the_positive_one() -> None:
    model = classifier()
    result = outcome(model)
    assert result.predictions == model.predict(training_frame()).tolist()
    assert {type(prediction) for prediction in result.predictions} == {bool}
    assert result.probabilities == model.predict_proba(training_frame())[:, 1].tolist()


def test_many_classes_give_the_probability_of_the_predicted_one() -> None:
    model = classifier(labels=np.array(["early", "on time", "late"] * 20))
    result = outcome(model)
    assert result.predictions == model.predict(training_frame()).tolist()
    assert result.probabilities == model.predict_proba(training_frame()).max(axis=1).tolist()


def test_the_class_is_what_predict_says_not_the_likelier_one() -> None:
    labels = training_frame()["distance"] > 300
    model = FixedThresholdClassifier(classifier(), threshold=0.01).fit(training_frame(), labels)
    result = outcome(model)
    assert result.predictions == model.predict(training_frame()).tolist()
    assert result.probabilities is not None
    assert any(prediction and p < 0.5 for prediction, p in zip(result.predictions, result.probabilities, strict=True))


def test_a_regressor_gives_numbers_and_no_probability() -> None:
    model = regressor()
    result = outcome(model)
    assert result.predictions == model.predict(training_frame()).tolist()
    assert result.probabilities is None


def test_a_classifier_without_probabilities_gives_none() -> None:
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    model = make_pipeline(StandardScaler(), Perceptron()).fit(frame, [0, 0, 1, 1])
    result = Estimator(model, NUMBERS).predict(numbers(0.0, 3.0))
    assert (result.predictions, result.probabilities) == ([0, 1], None)


def test_other_estimators_are_refused() -> None:
    with pytest.raises(VersionRefused, match="StandardScaler is neither a classifier nor a regressor"):
        Estimator(StandardScaler(), NUMBERS)


class Broken(RegressorMixin, BaseEstimator):
    def __init__(self, result: Any) -> None:
        self.result = result

    def predict(self, features: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (np.array([1.0, np.nan]), "it returned NaN or infinity"),
        (np.array([1.0]), "it returned 1 predictions for 2 rows"),
    ],
)
def test_a_model_that_fails_says_how(result: Any, message: str) -> None:
    with pytest.raises(PredictionFailed, match=message):
        Estimator(Broken(result), NUMBERS).predict(numbers(0.0, 1.0))


class Undecided(ClassifierMixin, BaseEstimator):
    classes_ = np.array([0, 1])

    def predict(self, features: Any) -> Any:
        return np.zeros(len(features), dtype=int)

    def predict_proba(self, features: Any) -> Any:
        return np.full((len(features), 2), np.nan)


def test_a_probability_that_is_no_number_is_a_failure() -> None:
    with pytest.raises(PredictionFailed, match="NaN"):
        Estimator(Undecided(), NUMBERS).predict(numbers(0.0))


@pytest.mark.parametrize(
    ("kind", "value", "dtype", "dtype_with_null"),
    [
        ("string", "a", "object", "object"),
        ("boolean", True, "bool", "object"),
        ("integer", 1, "int32", "float64"),
        ("long", 2**62, "int64", "float64"),
        ("float", 1.5, "float32", "float32"),
        ("double", 1.5, "float64", "float64"),
        ("datetime", datetime(2013, 7, 1), "datetime64[ns]", "datetime64[ns]"),
    ],
)
def test_the_frame_has_the_types_the_model_was_trained_on(
    kind: str, value: Any, dtype: str, dtype_with_null: str
) -> None:
    signature = Signature([Field("x", kind, False)])
    whole = make_frame(signature, Rows(2, {"x": [value, value]}, []))
    assert str(whole["x"].dtype) == dtype
    assert whole["x"].tolist() == [pd.Timestamp(value) if kind == "datetime" else value] * 2
    gaps = make_frame(signature, Rows(2, {"x": [value, None]}, []))
    assert str(gaps["x"].dtype) == dtype_with_null
    assert gaps["x"].isna().tolist() == [False, True]
