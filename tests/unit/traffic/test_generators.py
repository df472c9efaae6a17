"""Generators: rates, variation, shapes over time, and that chance is the seed's alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.traffic.generators import generate, profile
from orchestrator.traffic.settings import Arrivals, Diurnal, Gamma, Spike, Stage, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.unit.traffic.conftest import Reading

HOUR = 3600.0
DAY = 86_400.0


def made(settings: dict[str, Any], seed: int = 1, **part: float) -> NDArray[np.float64]:
    source = Arrivals.model_validate(settings).source
    assert not hasattr(source, "file")
    rows = generate(source, np.random.default_rng(seed), **part)
    return np.concatenate([np.zeros(0), *(part.at for part in rows)])


def within(count: float, expected: float, deviation: float) -> bool:
    """Four standard deviations: one in 16,000 seeds would fail, and the seed is fixed."""
    return abs(count - expected) < 4 * deviation


@pytest.mark.parametrize("variation", [0.2, 0.5, 1, 2, 5])
def test_a_renewal_process_has_its_rate_and_its_variation(variation: float) -> None:
    at = made({"gamma": {"rate": 50, "cv": variation}}, end_s=20_000)
    expected = 50 * 20_000
    # The variance of a renewal process's count is cv² times its mean.
    assert within(at.size, expected, variation * math.sqrt(expected))
    gaps = np.diff(at)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.03)
    assert (gaps >= 0).all()


def test_poisson_counts_of_a_second_have_a_variance_of_their_mean() -> None:
    at = made({"poisson": {"rate": 20}}, end_s=50_000)
    counts = np.bincount(at.astype(np.int64), minlength=50_000)
    assert counts.mean() == pytest.approx(20, rel=0.01)
    assert counts.var() == pytest.approx(20, rel=0.03)
    assert np.corrcoef(counts[1:], counts[:-1])[0, 1] == pytest.approx(0, abs=0.02)


def test_without_variation_the_gaps_are_equal() -> None:
    at = made({"gamma": {"rate": 4, "cv": 0}}, end_s=100)
    assert np.diff(at) == pytest.approx(0.25)
    assert at.size in (399, 400)
    assert at[0] < 0.25


def test_the_beginning_is_no_special_moment() -> None:
    """Bursty requests do not begin with a burst: the first second is like any other."""
    counts = [made({"gamma": {"rate": 1, "cv": 4}}, seed, end_s=1.0).size for seed in range(4000)]
    assert np.mean(counts) == pytest.approx(1, abs=4 * float(np.std(counts)) / math.sqrt(4000))


def test_a_day_has_its_peak_its_valley_and_its_mean() -> None:
    settings = {"diurnal": {"mean_rate": 10, "peak_rate": 18, "peak_at_seconds": 14 * HOUR}}
    at = made(settings, end_s=4 * DAY)
    assert within(at.size, 10 * 4 * DAY, math.sqrt(10 * 4 * DAY))
    hours = np.bincount((at % DAY // HOUR).astype(np.int64)) / 4 / HOUR
    assert hours[13:15] == pytest.approx(18, rel=0.03)
    # The mean over the hour beside the valley, where the rate is 2.
    assert hours[1:3] == pytest.approx(2.09, rel=0.03)


def test_the_integral_of_a_sine_is_that_of_its_formula() -> None:
    source = Diurnal(mean_rate=10, peak_rate=20, period_seconds=DAY, peak_at_seconds=5 * HOUR)
    shape = profile(source)
    for at in (0.0, 1.5 * HOUR, 5 * HOUR, 17 * HOUR, DAY, 3.3 * DAY):
        turn = 2 * math.pi / DAY
        exact = 10 * at + 10 / turn * (math.sin(turn * (at - 5 * HOUR)) + math.sin(turn * 5 * HOUR))
        assert shape.expected(at) == pytest.approx(exact, abs=1)


def test_steps_hold_their_rates_one_after_the_other_and_end() -> None:
    settings = {"step": {"steps": [
        {"rate": 5, "seconds": 1000}, {"rate": 0, "seconds": 500}, {"rate": 50, "seconds": 1000},
    ]}}  # fmt: skip
    at = made(settings)
    low, none, high = ((at < 1000).sum(), ((at > 1000) & (at < 1500)).sum(), (at > 1500).sum())
    assert within(low, 5000, math.sqrt(5000))
    assert none == 0
    assert within(high, 50_000, math.sqrt(50_000))
    assert at[-1] < 2500


def test_a_spike_is_where_and_as_high_as_it_is_asked_for() -> None:
    settings = {"spike": {"rate": 2, "peak_rate": 100, "at_seconds": 600, "seconds": 60}}
    at = made(settings, end_s=10_000)
    assert within(((at >= 600) & (at < 660)).sum(), 6000, math.sqrt(6000))
    assert within((at < 600).sum(), 1200, math.sqrt(1200))
    assert within((at >= 660).sum(), 2 * 9340, math.sqrt(2 * 9340))


def test_a_spike_out_of_nothing_ends_with_it() -> None:
    at = made({"spike": {"rate": 0, "peak_rate": 10, "at_seconds": 0, "seconds": 100}})
    assert within(at.size, 1000, math.sqrt(1000))
    assert at[-1] < 100


def test_equal_gaps_follow_a_rate_that_changes() -> None:
    steps = [{"rate": 1, "seconds": 10}, {"rate": 10, "seconds": 10}]
    at = made({"step": {"steps": steps, "cv": 0}})
    assert np.diff(at[at < 10]) == pytest.approx(1)
    assert np.diff(at[at > 10]) == pytest.approx(0.1)


def test_a_generator_can_begin_far_into_its_time_without_what_came_before() -> None:
    settings = {"diurnal": {"mean_rate": 100, "peak_rate": 200}}
    at = made(settings, begin_s=1000.5 * DAY, end_s=1000.5 * DAY + 60)
    # Half a period after the peak hardly anything comes.
    assert at.size < 20
    at = made(settings, begin_s=1000 * DAY, end_s=1000 * DAY + 60)
    assert within(at.size, 200 * 60, math.sqrt(200 * 60))
    assert ((at >= 1000 * DAY) & (at < 1000 * DAY + 60)).all()


rates = st.floats(0, 100)
lengths = st.floats(0.1, 1000)


@settings(deadline=None)
@given(st.lists(st.tuples(rates, lengths), min_size=1, max_size=6), st.floats(0.01, 1))
def test_the_time_of_an_expected_count_is_the_inverse_of_the_count(
    steps: list[tuple[float, float]], share: float
) -> None:
    if not any(rate > 0.01 for rate, _ in steps):
        return
    shape = profile(Step(steps=[Stage(rate=rate, seconds=seconds) for rate, seconds in steps]))
    count = shape.total * share
    at = shape.when(np.array([count]))[0]
    assert shape.expected(float(at)) == pytest.approx(count, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(rates, st.floats(0.1, 100), lengths, lengths, st.floats(0, 1e5))
def test_a_spike_s_time_is_the_inverse_of_its_count(
    rate: float, peak: float, at_seconds: float, seconds: float, count: float
) -> None:
    source = Spike(rate=rate, peak_rate=peak, at_seconds=at_seconds, seconds=seconds)
    shape = profile(source)
    count = min(count, shape.total)
    at = float(shape.when(np.array([count]))[0])
    assert shape.expected(at) == pytest.approx(count, rel=1e-6, abs=1e-6)


def test_the_seed_alone_decides(reading: Reading) -> None:
    settings = {"gamma": {"rate": 5, "cv": 2}, "duration_seconds": 1000}
    assert reading(settings, 7) == reading(settings, 7)
    assert reading(settings, 7) != reading(settings, 8)


def test_a_rate_scale_multiplies_a_generator_s_rate_and_leaves_its_variation() -> None:
    source = Gamma(rate=10, cv=3)
    rows = generate(source, np.random.default_rng(1), rate_scale=5.5, end_s=10_000)
    at = np.concatenate([part.at for part in rows])
    assert within(at.size, 550_000, 3 * math.sqrt(550_000))
    gaps = np.diff(at)
    assert gaps.std() / gaps.mean() == pytest.approx(3, rel=0.02)
