"""Where each column of a fitted model's matrix comes from.

Covered are steps whose every output column depends on one input column: there a column of the model's matrix is a
function of one field of the signature. Of a number that function must not fall; of a category it may be anything. What
the function is, is not read from the step: it is found by running the step (see `serving.fast.probe`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
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
from sklearn.utils._missing import is_scalar_nan

from serving.models.signature import Signature


class NotCovered(Exception):
    """There is no compiled way for this model; the message is the reason."""


@dataclass(frozen=True)
class Origin:
    """What one column of a matrix is made of.

    `coded`: it is a function of the field's category, else a function of the field's number that does not fall. Such a
    function is (x - shift) / scale if `affine`.
    """

    field: int
    coded: bool
    affine: bool = True
    shift: float = 0.0
    scale: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether it is the field's number itself."""
        return not self.coded and self.affine and (self.shift, self.scale) == (0.0, 1.0)


class Tracer:
    """Follows columns through fitted steps, and collects the categories that encoders know, by field."""

    def __init__(self, signature: Signature) -> None:
        """Start at the fields of a signature."""
        kinds = [field.type for field in signature.fields]
        self.start = [Origin(number, kind in ("string", "boolean")) for number, kind in enumerate(kinds)]
        self.categories: dict[int, list[Any]] = {n: [False, True] for n, kind in enumerate(kinds) if kind == "boolean"}

    def trace(self, step: Any, inputs: Sequence[Origin]) -> list[Origin]:
        """Return the origins of the columns that a fitted step makes of its input columns.

        Raises:
            NotCovered: the step mixes columns, or is of a kind that is not known here.
        """
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return list(inputs)
        if isinstance(step, str):  # "drop"
            return []
        if isinstance(step, Pipeline):
            for _, part in step.steps:
                inputs = self.trace(part, inputs)
            return list(inputs)
        if isinstance(step, ColumnTransformer):
            return self._columns(step, inputs)
        return self._transformer(step, inputs)

    def encoded(self, categories: Sequence[Any], origin: Origin) -> Origin:
        """Return the origin of what an encoder with these categories makes of a column.

        Raises:
            NotCovered: the column is a number that was changed before.
        """
        if not origin.coded and not origin.plain:
            raise NotCovered("a number is scaled before it is encoded as a category")
        known = self.categories.setdefault(origin.field, [])
        known.extend(value for value in np.asarray(categories).tolist() if not _is_missing(value))
        return Origin(origin.field, coded=True)

    def _columns(self, step: ColumnTransformer, inputs: Sequence[Origin]) -> list[Origin]:
        placed: dict[int, Origin] = {}
        for name, transformer, _ in step.transformers_:
            chosen = [inputs[number] for number in step._transformer_to_input_indices[name]]
            outputs = self.trace(transformer, chosen)
            where = step.output_indices_[name]
            if len(outputs) != where.stop - where.start:
                raise NotCovered(f"{name!r} of the ColumnTransformer makes another number of columns than it should")
            placed.update(zip(range(where.start, where.stop), outputs, strict=True))
        return [placed[number] for number in range(len(placed))]

    def _transformer(self, step: Any, inputs: Sequence[Origin]) -> list[Origin]:
        if isinstance(step, (OneHotEncoder, OrdinalEncoder, TargetEncoder)):
            return self._encoder(step, inputs)
        if isinstance(step, SelectorMixin):
            return [origin for origin, kept in zip(inputs, step.get_support(), strict=True) if kept]
        if isinstance(step, SimpleImputer):
            return self._imputed(step, inputs)
        if isinstance(step, FunctionTransformer) and step.func is None:
            return list(inputs)
        scaling = _scaling(step, len(inputs))
        return [
            _scaled(origin, shift, scale) if scaling is not None else replace(origin, affine=False)
            for origin, shift, scale in zip(inputs, *(scaling or (inputs, inputs)), strict=True)
        ]

    def _encoder(self, step: Any, inputs: Sequence[Origin]) -> list[Origin]:
        coded = [self.encoded(known, origin) for known, origin in zip(step.categories_, inputs, strict=True)]
        widths = [1] * len(coded)
        if isinstance(step, OneHotEncoder):
            widths = step._n_features_outs
        elif isinstance(step, TargetEncoder):  # with more than two classes one column for each
            widths = [len(step.encodings_) // len(coded)] * len(coded)
        return [origin for origin, width in zip(coded, widths, strict=True) for _ in range(width)]

    def _imputed(self, step: SimpleImputer, inputs: Sequence[Origin]) -> list[Origin]:
        if not _is_missing(step.missing_values) and not all(origin.coded for origin in inputs):
            raise NotCovered(f"SimpleImputer replaces the number {step.missing_values!r}")
        kept = [
            origin
            for origin, fill in zip(inputs, step.statistics_, strict=True)
            if step.keep_empty_features or not is_scalar_nan(fill)
        ]
        if step.add_indicator:  # a category too: null, or one that is not known
            indicated = [inputs[number].field for number in step.indicator_.features_]
            self.categories.update({field: self.categories.get(field, []) for field in indicated})
            kept += [Origin(field, coded=True) for field in indicated]
        return kept


def _is_missing(value: Any) -> bool:
    return value is None or is_scalar_nan(value)


def _scaling(step: Any, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a scaler subtracts from each column and what it divides by; None if it does something else."""
    nothing, one = np.zeros(count), np.ones(count)
    if isinstance(step, StandardScaler):
        return (step.mean_ if step.with_mean else nothing), (step.scale_ if step.with_std else one)
    if isinstance(step, RobustScaler):
        return (step.center_ if step.with_centering else nothing), (step.scale_ if step.with_scaling else one)
    if isinstance(step, MaxAbsScaler) and not step.clip:
        return nothing, step.scale_
    if isinstance(step, MinMaxScaler) and not step.clip:
        return -step.min_ / step.scale_, 1.0 / step.scale_
    if isinstance(step, KBinsDiscretizer) and step.encode != "ordinal":
        raise NotCovered("KBinsDiscretizer makes one column a bin")
    if isinstance(step, (MaxAbsScaler, MinMaxScaler, QuantileTransformer, KBinsDiscretizer)):
        return None
    raise NotCovered(f"{type(step).__name__} is a step that is not compiled")


def _scaled(origin: Origin, shift: float, scale: float) -> Origin:
    # ((x - a) / b - shift) / scale is (x - (a + b * shift)) / (b * scale)
    return replace(origin, shift=float(origin.shift + origin.scale * shift), scale=float(origin.scale * scale))
