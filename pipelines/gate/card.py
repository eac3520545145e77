"""The model card: what a registered version was made of, how good it is and where its limits are, as Markdown.

After Mitchell et al., "Model Cards for Model Reporting" (2019): data, metrics, slices, limits, lineage. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run

from contract import DIGEST_TAG, SNAPSHOT_TAG
from pipelines import tracking
from pipelines.project import Project
from pipelines.training.metrics import LOWER_IS_BETTER

FILE_NAME = "card.md"
WINDOWS = frozenset({"train_from", "train_to", "test_from", "test_to"})
"""Parameters of a training run that the card tells with the data."""
DESCRIPTION_CHARACTERS = 5000  # MLflow keeps no more of a version


@dataclass(frozen=True)
class Facts:
    """What the card tells, as the training run and the gate left it."""

    project: Project
    version: int
    training: Run
    evaluation: Mapping[str, Any]
    """``evaluation.json``, as `evaluate` wrote it."""
    registered_by: str

    @property
    def evidence(self) -> Mapping[str, Any]:
        """`Evidence.as_json`."""
        found: Mapping[str, Any] = self.evaluation["evidence"]
        return found


def render(facts: Facts) -> str:
    """The whole card."""
    return "\n\n".join([head(facts), *(f"## {title}\n\n{text}" for title, text in _sections(facts))]) + "\n"


def description(facts: Facts, link: str) -> str:
    """The card as the version's description: as many of its sections as fit, and the `link` to the whole."""
    text = f"{head(facts)}\n\n[Model card]({link})"
    for title, body in _sections(facts):
        longer = f"{text}\n\n## {title}\n\n{body}"
        if len(longer) > DESCRIPTION_CHARACTERS:
            break
        text = longer
    return text[:DESCRIPTION_CHARACTERS]


def head(facts: Facts) -> str:
    """Title, purpose and the gate's word."""
    metric = facts.project.evaluation.metric
    found = facts.evidence["metrics"][metric]["candidate"]
    window = f"{_day(facts, 'test_from')} to {_day(facts, 'test_to')}"
    return (
        f"# {facts.project.name}, version {facts.version}\n\n{facts.project.description}\n\n"
        f"{metric} {_interval(found)} on {window}. Gate: {facts.evaluation['gate']}."
    )


def _sections(facts: Facts) -> list[tuple[str, str]]:
    parts = [
        ("Metrics", _metrics(facts)),
        ("Slices", _slices(facts)),
        ("Checks", _checks(facts)),
        ("Limits", "\n".join(f"- {line}" for line in _limits(facts))),
        ("Data", _data(facts)),
        ("Lineage", _lineage(facts)),
    ]
    return [(title, text) for title, text in parts if text]


def _data(facts: Facts) -> str:
    data = facts.project.data
    rows = [
        (
            name,
            f"{_day(facts, f'{name}_from')} to {_day(facts, f'{name}_to')}",
            f"{facts.training.data.metrics[f'rows_{name}']:.0f}",
        )
        for name in ("train", "test")
    ]
    features = ", ".join(f"`{name}` ({kind})" for name, kind in data.features.items())
    return (
        f"One row of `{data.table}` is one `{data.entity_key}`; target `{data.target}` at `{data.event_time}`, "
        f"known after {data.target_known_after}.\n\n{_table(('window', 'from, to', 'rows'), rows)}\n\n"
        f"{len(data.features)} features: {features}."
    )


def _metrics(facts: Facts) -> str:
    confidence = facts.project.evaluation.confidence
    rival = facts.evaluation["champion_version"]
    compared = facts.evaluation["champion"] is not None
    header = ["metric", "this version", "training rows"]
    header += [f"champion (version {rival})", "loss against it"] if compared else []
    rows = []
    for metric, found in facts.evidence["metrics"].items():
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        row = [f"{metric} ({better} is better)", _interval(found["candidate"])]
        row.append(_number(facts.training.data.metrics.get(f"train_{metric}")))
        rows.append(row + ([_interval(found["champion"]), _interval(found["loss"])] if compared else []))
    return (
        f"On the {facts.evidence['rows']} rows of the test window, in brackets the {confidence:.0%} interval "
        f"({facts.project.evaluation.bootstrap} bootstrap resamples).\n\n{_table(header, rows)}"
    )


def _slices(facts: Facts) -> str:
    metric = facts.project.evaluation.metric
    compared = facts.evaluation["champion"] is not None
    header = ["slice", "rows", metric, *(["loss against the champion"] if compared else [])]
    rows = [
        [
            f"{part['column']} = {part['value']}",
            str(part["rows"]),
            _interval(part["measured"]["candidate"]),
            *([_interval(part["measured"]["loss"])] if compared else []),
        ]
        for part in facts.evidence["slices"]
        if part["measured"] is not None
    ]
    return _table(header, rows) if rows else ""


def _checks(facts: Facts) -> str:
    rules, evidence = facts.project.evaluation, facts.evidence
    lines = [f"- a single row takes {evidence['latency_ms']:.1f} ms{_allowed(rules.max_latency_ms)}"]
    if rules.max_calibration_error is not None:
        found = evidence["metrics"]["calibration_error"]["candidate"]["value"]
        lines.append(f"- calibration error {_number(found)}{_allowed(rules.max_calibration_error)}")
    gaps = evidence["gaps"]
    if gaps is not None and rules.missing_values is not None:
        worse = "it cannot answer" if gaps["loss"] is None else f"{rules.metric} is {gaps['loss']:.4f} worse"
        lines.append(
            f"- with {gaps['share']:.0%} of the values missing {worse}{_allowed(rules.missing_values.max_loss)}"
        )
    return "\n".join(lines + [f"- {reason}" for reason in evidence["schema"]])


def _limits(facts: Facts) -> Iterable[str]:
    rules, evidence = facts.project.evaluation, facts.evidence
    yield (
        f"It has seen nothing before {_day(facts, 'train_from')} or after {_day(facts, 'train_to')}; "
        f"one window of {evidence['rows']} rows measured it."
    )
    whole = evidence["metrics"][rules.metric]["candidate"]["value"]
    weak = [
        f"{part['column']} = {part['value']}"
        for part in evidence["slices"]
        if part["measured"] and _is_weaker(rules.metric, part["measured"]["candidate"], whole)
    ]
    if weak:
        yield f"Weaker than on the whole, beyond doubt: {', '.join(weak)}."
    few = [
        f"{part['column']} = {part['value']} ({part['rows']})" for part in evidence["slices"] if not part["measured"]
    ]
    if few:
        yield f"Not measured, fewer than {rules.slice_minimum_rows} test rows: {_some(few)}."
    yield from (f"{note[0].upper()}{note[1:]}." for note in facts.evaluation["notes"])


def _is_weaker(metric: str, part: Mapping[str, float | None], whole: float) -> bool:
    low, high = part["low"], part["high"]
    if low is None or high is None:
        return False
    return low > whole if metric in LOWER_IS_BETTER else high < whole


def _lineage(facts: Facts) -> str:
    tags, rival = facts.training.data.tags, facts.evaluation["champion_version"]
    chosen = [f"{name} = {value}" for name, value in sorted(facts.training.data.params.items()) if name not in WINDOWS]
    rows = [
        ("training run", facts.training.info.run_id),
        ("trained by", tags.get(tracking.ACTOR_TAG, "unknown")),
        ("registered by", facts.registered_by),
        ("code", tags.get(tracking.COMMIT_TAG, "unknown")),
        ("project's files", tags.get(tracking.SOURCE_TAG, "unknown")),
        ("data snapshot", tags.get(SNAPSHOT_TAG, "unknown")),
        ("artifact", tags.get(DIGEST_TAG, "unknown")),
        ("champion at that time", str(rival or "none")),
        ("parameters", ", ".join(chosen)),
    ]
    return _table(("", ""), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _interval(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "none"
    return f"{_number(found['value'])} [{_number(found['low'])}, {_number(found['high'])}]"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}" if abs(value) >= 10 else f"{value:.4f}"


def _allowed(bound: float | None) -> str:
    return "" if bound is None else f" (allowed: {bound:g})"


def _some(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _day(facts: Facts, parameter: str) -> str:
    return facts.training.data.params[parameter][:10]
