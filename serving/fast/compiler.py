"""Finds a compiled way for a model, builds it and proves it."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from serving.fast import forest
from serving.fast.answers import LAYERED, answers
from serving.fast.cells import learn
from serving.fast.engine import Compiled
from serving.fast.layers import Layers
from serving.fast.origins import NotCovered, Origin, Tracer
from serving.fast.probe import Probe
from serving.fast.splits import finite_range, split
from serving.fast.tables import tables
from serving.fast.verify import verify
from serving.fast.walk import Walk
from serving.models.model import Engine, Estimator, make_input
from serving.models.signature import Rows, Signature

log = logging.getLogger(__name__)


def compile_fast(estimator: Any, signature: Signature, example: Rows, own: Estimator) -> Engine | None:
    """Return an engine that answers as the model's own predict does, but sooner.

    Args:
        estimator: fitted; a Pipeline or what ends one.
        signature: of the model.
        example: rows of the model's input example.
        own: the model's own predict, which the compiled one is compared with.

    Returns:
        None if there is none, or it answers otherwise; a log line says why.
    """
    started = time.perf_counter()
    steps, model = _parts(estimator)
    name = type(model).__name__
    try:
        engine = build(steps, model, signature)
        built = time.perf_counter()
        verify(engine, own, signature, example)
    except NotCovered as exc:
        log.info("%s is computed by its own predict: %s", name, exc)
        return None
    except Exception as exc:
        log.warning("%s is computed by its own predict: %s: %s", name, type(exc).__name__, exc)
        return None
    seconds = built - started, time.perf_counter() - built
    log.info("%s is computed as compiled %s (built in %.2f s, compared in %.2f s)", name, engine.kind, *seconds)
    return engine


def build(steps: Sequence[Any], model: Any, signature: Signature) -> Compiled:
    """Compile a model, unproved.

    Args:
        steps: what comes before it.
        model: the fitted classifier or regressor.
        signature: of both together.

    Raises:
        NotCovered: there is no compiled way for it.
    """
    trained = forest.read(model) if type(model) not in LAYERED else None
    tracer, origins = _trace(steps, model, signature)
    single = trained is not None and type(model) not in forest.HISTOGRAM
    probe = Probe(signature, partial(_prepare, steps, model, signature), tracer.categories, single)
    takes_nan = trained is not None and get_tags(model).input_tags.allow_nan and not probe.sparse
    cells = learn(probe, origins, tracer.categories, takes_nan)
    if trained is None:
        layers = Layers(model, origins, cells, signature.fields)
        return Compiled("layers", cells, layers, answers(model, layers.outputs), None)
    finite = finite_range(cells, origins, probe) if single else None
    if finite is None:
        cells = cells.only(set(trained.feature[~trained.leaf].tolist()))
    splits = split(trained, cells, origins, probe)
    compute = tables(trained, splits, cells) or Walk(trained, splits, cells)
    return Compiled("trees", cells, compute, answers(model, len(trained.outputs)), finite)


def _trace(steps: Sequence[Any], model: Any, signature: Signature) -> tuple[Tracer, list[Origin]]:
    names = getattr(next(step for step in (*steps, model) if not _passes(step)), "feature_names_in_", None)
    if names is not None and list(names) != [field.name for field in signature.fields]:
        raise NotCovered("its signature has other columns, or in another order, than it was trained on")
    tracer = Tracer(signature)
    origins = tracer.start
    for step in steps:
        origins = tracer.trace(step, origins)
    if type(model) in forest.HISTOGRAM and model._preprocessor is not None:  # it takes the categories to the front
        encoder = iter(model._preprocessor.named_transformers_["encoder"].categories_)
        pairs = list(zip(origins, model.is_categorical_, strict=True))
        coded = [tracer.encoded(next(encoder), origin) for origin, categorical in pairs if categorical]
        origins = coded + [origin for origin, categorical in pairs if not categorical]
    return tracer, origins


def _prepare(steps: Sequence[Any], model: Any, signature: Signature, rows: Rows) -> Any:
    """Return the matrix that the model itself computes on."""
    matrix = make_input(signature, rows)
    for step in steps:
        if not _passes(step):
            matrix = step.transform(matrix)
    return model._preprocess_X(matrix, reset=False) if type(model) in forest.HISTOGRAM else matrix


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """Return the steps before the model, and the model."""
    steps = []
    while isinstance(estimator, Pipeline):
        steps += [step for _, step in estimator.steps[:-1]]
        estimator = estimator.steps[-1][1]
    return steps, estimator


def _passes(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")
