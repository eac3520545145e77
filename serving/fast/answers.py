"""From a model's raw outputs to its predictions and probabilities, as its own `predict` and `predict_proba` do."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import is_classifier
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.extmath import softmax

from serving.fast import forest
from serving.fast.origins import NotCovered

GENERALIZED = (GammaRegressor, PoissonRegressor, TweedieRegressor)
REGRESSORS = (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LinearSVR,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
LOGISTIC = (LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis)
MARGINS = (LinearSVC, Perceptron, RidgeClassifier, RidgeClassifierCV)
CLASSIFIERS = (*LOGISTIC, *MARGINS, SGDClassifier)
NETWORKS = (MLPClassifier, MLPRegressor)
LAYERED = (*GENERALIZED, *REGRESSORS, *CLASSIFIERS, *NETWORKS)

Answer = tuple[np.ndarray, np.ndarray | None]
"""What is predicted, and the probability as `Scores` wants it; None for a model that has none."""


def answers(model: Any, outputs: int) -> Callable[[np.ndarray], Answer]:
    """Return the function from raw outputs (one row an output, one column a row) to predictions and probabilities.

    Raises:
        NotCovered: the model predicts several values a row.
    """
    if not is_classifier(model):
        if outputs != 1:
            raise NotCovered("it predicts several values")
        return _regression(model)
    labels = np.asarray(model.classes_)
    if labels.ndim != 1 or outputs != (1 if len(labels) == 2 and type(model) not in _BY_CLASS else len(labels)):
        raise NotCovered("it predicts several labels")
    probabilities = _probabilities(model)
    if outputs == len(labels):
        return lambda raw: (labels.take(raw.argmax(axis=0)), probabilities(raw))
    second = _second(model)
    return lambda raw: (labels.take(second(raw[0])), probabilities(raw))


_BY_CLASS = (*forest.FORESTS, *forest.TREES)
"""Models whose outputs are the probabilities of all classes, also if there are two."""


def _regression(model: Any) -> Callable[[np.ndarray], Answer]:
    if type(model) in (*forest.HISTOGRAM, *GENERALIZED):
        inverse = (model._loss if type(model) in forest.HISTOGRAM else model._base_loss).link.inverse
        return lambda raw: (inverse(raw[0]), None)
    return lambda raw: (raw[0], None)


def _second(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return what tells the second class from the first by the raw output."""
    if type(model) in forest.GRADIENT:
        return lambda raw: (raw >= 0).view(np.int8)
    if type(model) is MLPClassifier:
        return lambda raw: (expit(raw) > 0.5).view(np.int8)
    return lambda raw: (raw > 0).view(np.int8)


def _probabilities(model: Any) -> Callable[[np.ndarray], np.ndarray | None]:
    if type(model) in _BY_CLASS:
        return lambda raw: raw[1] if len(raw) == 2 else raw.max(axis=0)
    if type(model) in (*forest.HISTOGRAM, *forest.GRADIENT):
        loss = model._loss
        return lambda raw: loss.link.inverse(raw[0]) if len(raw) == 1 else loss.predict_proba(raw.T).max(axis=1)
    if type(model) in (*LOGISTIC, MLPClassifier):
        return lambda raw: expit(raw[0]) if len(raw) == 1 else softmax(raw.T).max(axis=1)
    if type(model) is SGDClassifier and model.loss in ("log_loss", "modified_huber"):
        share = expit if model.loss == "log_loss" else _huber
        return lambda raw: share(raw[0]) if len(raw) == 1 else _normalized(share(raw))
    if type(model) in (*MARGINS, SGDClassifier):
        return lambda _: None
    raise NotCovered(f"{type(model).__name__} is not compiled")


def _huber(raw: np.ndarray) -> np.ndarray:
    return (np.clip(raw, -1, 1) + 1) / 2


def _normalized(shares: np.ndarray) -> np.ndarray:
    """Return the greatest share of one against the rest, after they were made to add up to 1."""
    total = shares.sum(axis=0)
    return np.where(total == 0, 1 / len(shares), shares.max(axis=0) / np.where(total == 0, 1, total))
