"""The result as markdown: what was measured, and whether it is what we aim at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from benchmarks.serving.case import BATCHES, CASES, MANY_CALLERS, ONE_BY_ONE, Case, Measurement

Figures = Mapping[Case, Measurement]


class Side(Enum):
    """Whose line it is. Only MAIN is held against the targets."""

    MAIN = "this server"
    VARIANT = "this server in another way"
    PEER = "another server"
    FLOOR = "no model"


@dataclass(frozen=True)
class Line:
    """One server's figures. A server that could not be measured has none, and `failure` says why."""

    title: str
    side: Side
    model: str
    figures: Figures = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Aim:
    """One target: the figure, and whether it is met. A figure is None where a server that it needs was left out."""

    what: str
    figure: str | None
    met: bool

    @classmethod
    def at_least(cls, what: str, value: float | None, limit: float) -> Aim:
        return cls(what, None if value is None else f"{value:.2f} ×", value is not None and value >= limit)

    @classmethod
    def at_most(cls, what: str, value: float | None, limit: float) -> Aim:
        return cls(what, None if value is None else f"{value:.2f} ×", value is not None and value <= limit)


def markdown(lines: Sequence[Line], note: str) -> str:
    """The tables of both models, and the targets."""
    parts = []
    for model, title in (("numeric", "100 trees over 12 numbers"), ("mixed", "The sample's pipeline of mixed types")):
        own = [line for line in lines if line.model == model]
        if own:
            parts.append(f"**{title}**\n\n" + "\n".join([*_rows(own), *_ratios(own)]))
    parts.append("**Targets**\n\n" + "\n".join(_targets(aims(lines))))
    return "\n\n".join([*parts, note])


def aims(lines: Sequence[Line]) -> list[Aim]:
    """What the figures are held against."""
    numeric = [line for line in lines if line.model == "numeric"]
    mixed = [line for line in lines if line.model == "mixed"]
    own, floor = _figures(numeric, Side.MAIN), _figures(numeric, Side.FLOOR)
    many, many_floor = own.get(MANY_CALLERS), floor.get(MANY_CALLERS)
    one, best = own.get(ONE_BY_ONE), _of_peers(numeric, lambda figures: figures[ONE_BY_ONE].p50, min)
    worst = min((r for case in CASES if (r := _against_best(mixed, case)) is not None), default=None)
    return [
        Aim.at_least(f"{MANY_CALLERS.title}: ≥ 4 × the best peer", _against_best(numeric, MANY_CALLERS), 4),
        Aim.at_least(f"{MANY_CALLERS.title}: ≥ 0.5 × the floor", _ratio(_rate(many), _rate(many_floor)), 0.5),
        Aim.at_most(f"{ONE_BY_ONE.title}: p50 ≤ 0.25 × the best peer's", _ratio(one.p50 if one else None, best), 0.25),
        Aim.at_least(f"{BATCHES.title}: ≥ 2 × the best peer", _against_best(numeric, BATCHES), 2),
        Aim.at_least("mixed types, each case: ≥ 5 × `mlflow models serve`", worst, 5),
        Aim.at_most(f"{MANY_CALLERS.title}: p99 ≤ 4 × p50", many.p99 / many.p50 if many else None, 4),
    ]


def _rows(lines: Sequence[Line]) -> Iterator[str]:
    yield "| server | " + " | ".join(f"{case.title}: req/s | p50 ms | p99 ms" for case in CASES) + " |"
    yield "|---|" + "---:|" * 3 * len(CASES)
    for line in sorted(lines, key=_order):
        if line.failure:
            yield (
                f"| {line.title} | "
                + " | ".join([f"not measured: {line.failure}", *[""] * (3 * len(CASES) - 1)])
                + " |"
            )
            continue
        cells = [cell for case in CASES for cell in _cells(line.figures[case])]
        strong = "**" if line.side is Side.MAIN else ""
        yield f"| {strong}{line.title}{strong} | " + " | ".join(cells) + " |"


def _ratios(lines: Sequence[Line]) -> Iterator[str]:
    """Our line over the best figure of the others, and over the floor."""
    own = _figures(lines, Side.MAIN)
    for title, side in (("the best peer", Side.PEER), ("the floor", Side.FLOOR)):
        others = [line.figures for line in lines if line.side is side and line.figures]
        if own and others:
            cells = []
            for case in CASES:
                found = [figures[case] for figures in others]
                cells.append(own[case].rate / max(other.rate for other in found))
                cells.append(own[case].p50 / min(other.p50 for other in found))
                cells.append(own[case].p99 / min(other.p99 for other in found))
            yield f"| *ours ÷ {title}* | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"


def _cells(figure: Measurement) -> list[str]:
    errors = f" ({figure.errors} errors)" if figure.errors else ""
    return [f"{figure.rate:,.0f}{errors}", f"{figure.p50:.2f}", f"{figure.p99:.2f}"]


def _order(line: Line) -> tuple[int, float]:
    """Floor, ours, then the others from the fastest to the slowest."""
    sides = [Side.FLOOR, Side.MAIN, Side.VARIANT, Side.PEER]
    rate = line.figures[MANY_CALLERS].rate if line.figures and line.side is Side.PEER else 0.0
    return sides.index(line.side), -rate


def _targets(found: Iterable[Aim]) -> Iterator[str]:
    yield "| target | measured | |"
    yield "|---|---:|---|"
    for aim in found:
        verdict = "not measured" if aim.figure is None else "met" if aim.met else "**not met**"
        yield f"| {aim.what} | {aim.figure or ''} | {verdict} |"


def _against_best(lines: Sequence[Line], case: Case) -> float | None:
    """Our rate over that of the fastest other server."""
    own = _figures(lines, Side.MAIN).get(case)
    return _ratio(_rate(own), _of_peers(lines, lambda figures: figures[case].rate, max))


def _figures(lines: Sequence[Line], side: Side) -> Figures:
    return next((line.figures for line in lines if line.side is side), {})


def _of_peers(
    lines: Sequence[Line], value: Callable[[Figures], float], best: Callable[[Iterable[float]], float]
) -> float | None:
    found = [value(line.figures) for line in lines if line.side is Side.PEER and line.figures]
    return best(found) if found else None


def _rate(figure: Measurement | None) -> float | None:
    return None if figure is None else figure.rate


def _ratio(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other
