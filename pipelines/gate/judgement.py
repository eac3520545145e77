"""The gate: whether a candidate may become the champion. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.project import Evaluation
from pipelines.training.metrics import loss_against, reaches


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


def judge(rules: Evaluation, candidate: dict[str, float], champion: dict[str, float] | None) -> Verdict:
    """Hold the metrics of the candidate, and of the champion on the same rows, against the declared rules."""
    metric = rules.metric
    value = candidate[metric]
    reasons = []
    if not reaches(metric, value, rules.minimum):
        reasons.append(f"{metric} {value:.4f} does not reach {rules.minimum:g}")
    if champion is not None:
        loss = loss_against(metric, value, champion[metric])
        if loss > rules.max_loss:
            reasons.append(
                f"{metric} {value:.4f} is {loss:.4f} worse than the champion's {champion[metric]:.4f} "
                f"(allowed: {rules.max_loss:g})"
            )
    return Verdict(tuple(reasons))
