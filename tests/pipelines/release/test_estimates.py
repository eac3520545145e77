from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from pipelines.release import estimates
from pipelines.release.estimates import mean_distance, median_ratio, output_drift, rate_difference


@pytest.mark.parametrize(
    ("one", "other", "low"), [((56, 70), (48, 80), 0.0524), ((9, 10), (3, 10), 0.1705), ((10, 10), (0, 20), 0.6791)]
)
def test_a_difference_of_rates_has_newcombes_bound(
    monkeypatch: pytest.MonkeyPatch, one: tuple[int, int], other: tuple[int, int], low: float
) -> None:
    """The examples of his table II, at 95 %."""
    monkeypatch.setattr(estimates, "_Z", norm.isf(0.025))
    found = rate_difference(*one, *other)
    assert found.value == pytest.approx(one[0] / one[1] - other[0] / other[1])
    assert found.low == pytest.approx(low, abs=5e-5)


def test_a_candidate_that_was_not_asked_has_no_bound() -> None:
    assert rate_difference(0, 0, 5, 100).low is None


def test_one_failure_is_no_breach_but_many_are() -> None:
    assert (rate_difference(1, 20, 0, 200).low or 0) < 0.01
    assert (rate_difference(20, 20, 0, 200).low or 0) > 0.5
    assert (rate_difference(30, 300, 30, 300).low or 0) < 0, "the champion fails as often"
    assert (rate_difference(20, 20, 0, 0).low or 0) > 0.5, "nobody asked the champion"


def test_the_bound_of_a_median_ratio_holds_for_any_distribution() -> None:
    random = np.random.default_rng(1)
    misled = sum((median_ratio(random.exponential(1, 40), random.exponential(1, 60)).low or 0) > 1 for _ in range(2000))
    assert misled <= 10, "at most half a percent of the looks may be misled"
    slow = median_ratio(random.exponential(3, 400), random.exponential(1, 400))
    assert slow.low is not None
    assert 1.5 < slow.low < slow.value < 4
    assert median_ratio(np.ones(7), np.ones(7)).low is None
    assert median_ratio(np.ones(8), np.full(8, 0.5)).low == 2
    assert binom.cdf(0, 8, 0.5) < 0.005 < binom.cdf(0, 7, 0.5)


def test_the_distance_of_answers_is_in_units_of_its_scale() -> None:
    champion = np.linspace(0, 1, 100)
    found = mean_distance(champion + 0.3, champion, 1.0)
    assert (found.value, found.low) == (pytest.approx(0.3), pytest.approx(0.3))
    assert mean_distance(champion + 3, champion, 10.0).value == pytest.approx(0.3)
    assert mean_distance(champion[:29] + 1, champion[:29], 1.0).low is None
    assert mean_distance(champion, champion, 0.0).low is None, "a champion that always says the same has no scale"


def test_answers_that_moved_have_drifted_and_chance_is_left_out() -> None:
    random = np.random.default_rng(2)
    bins = np.linspace(0, 1, 11)

    def counts(a: float, b: float, rows: int) -> np.ndarray:
        return np.append(np.histogram(random.beta(a, b, rows), bins)[0], 0)

    before = counts(2, 5, 5000)
    misled = [(output_drift(before, counts(2, 5, 60)).low or 0) > 0 for _ in range(500)]
    assert sum(misled) <= 10
    moved = output_drift(before, counts(5, 2, 200))
    assert moved.low is not None
    assert 0.25 < moved.low < moved.value
    assert output_drift(before, counts(2, 5, 0)).low is None
