"""The gate: whether a candidate may become the champion. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.gate.bootstrap import Interval
from pipelines.gate.figures import Evidence, Measured
from pipelines.project import Evaluation
from pipelines.training.metrics import reaches


@dataclass(frozen=True)
class Verdict:
    """What the gate says, with every reason for a refusal."""

    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return not self.reasons

    def __str__(self) -> str:
        return "passed" if self.passed else f"refused: {'; '.join(self.reasons)}"


def judge(rules: Evaluation, evidence: Evidence) -> Verdict:
    """Hold the evidence against the declared rules; every rule that is broken is a reason.

    The metric itself is taken as measured, so doubt falls to the champion. A slice has fewer rows and there are many of
    them: it counts only where the loss is beyond doubt, else some slice would refuse every candidate by chance.
    """
    measured = evidence.metrics[rules.metric]
    return Verdict(
        (
            *evidence.schema,
            *_metric(rules, measured),
            *_slices(rules, evidence),
            *_calibration(rules, evidence),
            *_latency(rules, evidence),
            *_gaps(rules, evidence),
        )
    )


def _metric(rules: Evaluation, measured: Measured) -> Iterator[str]:
    metric, found, rival = rules.metric, measured.candidate, measured.champion
    if not reaches(metric, found.value, rules.minimum):
        yield f"{metric} {found.value:.4f} ({_bounds(found)}) does not reach {rules.minimum:g}"
    # Not `loss > max_loss`: a loss that does not exist must not pass.
    if measured.loss is not None and rival is not None and not measured.loss.value <= rules.max_loss:
        yield (
            f"{metric} {found.value:.4f} is {measured.loss.value:.4f} ({_bounds(measured.loss)}) worse than the "
            f"champion's {rival.value:.4f} (allowed: {rules.max_loss:g})"
        )


def _slices(rules: Evaluation, evidence: Evidence) -> Iterator[str]:
    for part in evidence.slices:
        loss = part.measured.loss if part.measured else None
        if rules.slice_max_loss is not None and loss is not None and loss.low > rules.slice_max_loss:
            yield (
                f"slice {part.column} = {part.value}: {rules.metric} is {loss.value:.4f} ({_bounds(loss)}) worse than "
                f"the champion's on {part.rows} rows (allowed: {rules.slice_max_loss:g})"
            )


def _calibration(rules: Evaluation, evidence: Evidence) -> Iterator[str]:
    if rules.max_calibration_error is not None:
        found = evidence.metrics["calibration_error"].candidate
        if not found.value <= rules.max_calibration_error:
            allowed = f"allowed: {rules.max_calibration_error:g}"
            yield f"calibration error {found.value:.4f} ({_bounds(found)}) is too large ({allowed})"


def _latency(rules: Evaluation, evidence: Evidence) -> Iterator[str]:
    if rules.max_latency_ms is not None and not evidence.latency_ms <= rules.max_latency_ms:
        yield f"latency: a single row takes {evidence.latency_ms:.1f} ms (allowed: {rules.max_latency_ms:g})"


def _gaps(rules: Evaluation, evidence: Evidence) -> Iterator[str]:
    gaps = evidence.gaps
    if gaps is None or rules.missing_values is None:
        return
    share = f"missing values: with {gaps.share:.0%} of them missing"
    if gaps.loss is None:
        yield f"{share} it cannot answer: {gaps.error}"
    elif not gaps.loss <= rules.missing_values.max_loss:
        yield f"{share} {rules.metric} is {gaps.loss:.4f} worse (allowed: {rules.missing_values.max_loss:g})"


def _bounds(found: Interval) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"
