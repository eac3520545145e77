"""Compiled linear models and networks answer as their own predict does, within the error of a matrix product."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from tests.serving.fast.cases import agree, labels, numbers, refuses_alike, signature_of, target

CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegressionCV(l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"),
    LinearDiscriminantAnalysis(),
    LinearSVC(),
    Perceptron(),
    RidgeClassifier(),
    SGDClassifier(),
    SGDClassifier(loss="log_loss"),
    SGDClassifier(loss="modified_huber"),
    MLPClassifier((8, 5), max_iter=20),
    MLPClassifier((6,), activation="tanh", max_iter=20),
]
REGRESSORS = [
    BayesianRidge(),
    ElasticNet(),
    HuberRegressor(max_iter=500),
    Lasso(),
    LinearRegression(),
    LinearSVR(),
    Ridge(),
    RidgeCV(),
    SGDRegressor(),
    MLPRegressor(hidden_layer_sizes=(8, 4), activation="logistic", max_iter=20),
]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("classes", [(0, 1), ("no", "yes"), (False, True), (3, 5, 9)], ids=str)
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_classifiers(model: Any, classes: tuple[Any, ...]) -> None:
    frame = numbers()
    pipeline = make_pipeline(StandardScaler(), model).fit(frame, labels(frame, classes))
    agree(pipeline, frame, "layers", fresh=numbers(seed=1), exact=False)


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_regressors(model: Any) -> None:
    frame = numbers()
    pipeline = make_pipeline(StandardScaler(), model).fit(frame, target(frame))
    agree(pipeline, frame, "layers", fresh=numbers(seed=1), exact=False)


@pytest.mark.parametrize("model", [GammaRegressor(), PoissonRegressor(), TweedieRegressor(power=1.5)], ids=str)
def test_generalized_linear_models(model: Any) -> None:
    frame = numbers().drop(columns="whole")
    goal = np.exp(np.clip(target(frame), -2, 2))
    agree(model.fit(frame, goal), frame, "layers", fresh=numbers(seed=1).drop(columns="whole"), exact=False)


def test_a_large_mean_loses_no_digits() -> None:
    frame = numbers()
    frame["a"] = frame["a"] + 1.7e9
    model = make_pipeline(StandardScaler(), Ridge()).fit(frame, target(numbers()))
    agree(model, frame, "layers", exact=False)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_a_tensor(dtype: type) -> None:
    matrix = (numbers()[list("abcde")].to_numpy() * 10).astype(dtype)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix, labels(numbers()))
    frame = pd.DataFrame(matrix, columns=range(5))
    agree(model, frame, "layers", signature=signature_of(matrix), exact=False)


def test_null_is_refused() -> None:
    frame = numbers(gaps=True)
    model = LogisticRegression().fit(frame.fillna(0.0), labels(frame))
    refuses_alike(model, frame, frame.head(1).assign(a=np.nan))


def test_what_is_infinite_once_scaled_is_refused() -> None:
    frame = numbers()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame.assign(a=frame["a"] / 1e9), labels(frame))
    refuses_alike(model, frame.assign(a=frame["a"] / 1e9), frame.head(1).assign(a=1e300))
