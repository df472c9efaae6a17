"""The predictive policy: ramps, waves, spikes and steady loads, with exact numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.scaling.policy import Seen, SettingError
from orchestrator.lifecycle.scaling.predictive import (
    Buckets,
    ForecastErrors,
    PredictivePolicy,
    Smoothing,
)
from orchestrator.lifecycle.settings import AutoscalingSettings

DAY_S = 86_400.0
Load = Callable[[float], float]


def seen(in_flight: float, **facts: Any) -> Seen:
    scaling = AutoscalingSettings(max_replica=1000, concurrency_target=10, utilization=1.0)
    return Seen(scaling, in_flight=in_flight, **facts)


def run(
    policy: PredictivePolicy, load: Load, until_s: float, step_s: float = 1.0, **facts: Any
) -> dict[float, int]:
    """A wish every `step_s` from 0 on, up to and with `until_s`."""
    times = [step * step_s for step in range(round(until_s / step_s) + 1)]
    return {now: policy.wish(now, seen(load(now), **facts)).replicas for now in times}


# The policy


@pytest.mark.parametrize("load", [0.0, 0.5, 7.0, 25.0, 70.0, 333.0])
def test_a_constant_load_gets_what_concurrency_would_give(load: float) -> None:
    wishes = run(PredictivePolicy(), lambda _: load, 600, startup_s=60.0)
    assert set(wishes.values()) == {math.ceil(load / 10)}


@pytest.mark.parametrize("damping", [1.0, 0.9])
@pytest.mark.parametrize("startup_s", [0.0, 30.0, 120.0])
def test_a_ramp_is_anticipated_by_the_time_of_a_start(damping: float, startup_s: float) -> None:
    # A damped trend falls short of a ramp, always by the same; that is its error, and added.
    policy = PredictivePolicy(trend_damping=damping)
    wishes = run(policy, lambda now: now, 3000, step_s=0.5, startup_s=startup_s)
    for now in (2000.0, 2500.0, 3000.0):
        # The bucket in which the horizon ends has this for its mean, less half a step of 0.5 s.
        mean = now + startup_s + 15 - 0.25
        assert wishes[now] == math.ceil(mean / 10 - 0.05)
        # It holds for the whole bucket, to whose end it is enough.
        assert wishes[now] * 10 >= now + 10 + startup_s


def test_on_the_first_day_a_wave_is_only_followed() -> None:
    policy = PredictivePolicy(bucket=60.0, season=DAY_S, horizon=600.0)
    wishes = run(policy, office_day, DAY_S, step_s=20.0)
    assert wishes[8 * 3600 - 60] == 0
    assert wishes[9 * 3600] == 10


def test_from_the_second_day_on_a_daily_wave_brings_replicas_before_the_rise() -> None:
    policy = PredictivePolicy(bucket=60.0, season=DAY_S, horizon=600.0)
    wishes = run(policy, office_day, 2 * DAY_S, step_s=20.0)
    rise = DAY_S + 8 * 3600
    assert [wishes[rise - s] for s in (720, 620, 600, 60)] == [0, 0, 10, 10]
    assert wishes[rise + 9 * 3600] == 10
    # The load ends at 18:00; the average of a minute has forgotten it at 18:01.
    assert wishes[rise + 10 * 3600 + 60] == 0


def test_replicas_for_a_peak_shorter_than_a_start_stay_until_it_has_come() -> None:
    policy = PredictivePolicy(bucket=60.0, season=3600.0, horizon=600.0)
    wishes = run(policy, lambda now: 100.0 if 1800 <= now % 3600 < 1920 else 0.0, 7200)
    peak = 3600 + 1800
    assert [wishes[peak - s] for s in (660, 600, 300, 60)] == [0, 10, 10, 10]


def office_day(now: float) -> float:
    return 100.0 if 8 * 3600 <= now % DAY_S < 18 * 3600 else 0.0


def test_a_spike_does_not_hold_replicas_for_ever() -> None:
    policy = PredictivePolicy()
    wishes = run(policy, lambda now: 200.0 if 300 <= now < 330 else 0.0, 1800, startup_s=60.0)
    assert max(wishes.values()) >= 10
    # 120 errors of 10 s are remembered; those of the spike are gone after that.
    assert all(wishes[330 + s] == 0 for s in range(1200, 1470))


def test_the_rest_of_a_forecast_starts_nothing() -> None:
    policy = PredictivePolicy(beta=1e-6)
    wishes = run(policy, lambda now: 200.0 if now < 600 else 0.0, 700)
    assert policy._forecast > 0
    assert wishes[700] == 0


def test_it_asks_for_no_less_than_the_load_that_there_is() -> None:
    policy = PredictivePolicy()
    wishes = run(policy, lambda now: max(600 - now, 0.0), 700)
    for now in range(60, 700, 7):
        average = sum(max(600 - s, 0) for s in range(now - 60, now)) / 60
        assert wishes[now] >= math.floor(average / 10)


def test_it_says_what_it_went_by() -> None:
    policy = PredictivePolicy()
    run(policy, lambda _: 25.0, 600, startup_s=30.0)
    assert policy.wish(601.0, seen(25.0, startup_s=30.0)).reason == (
        "25.00 in flight over 60 s, forecast within 40 s 25.00 + 0.00 for its errors, 10 a replica"
    )


def test_a_horizon_of_its_own_comes_before_what_starts_take() -> None:
    policy = PredictivePolicy(horizon=90.0)
    assert "forecast within 90 s" in policy.wish(0.0, seen(1.0, startup_s=5.0)).reason


@given(
    st.lists(st.tuples(st.floats(0, 45), st.floats(0, 1e4)), max_size=60),
    st.sampled_from([None, 40.0]),
)
def test_no_wish_is_negative_and_none_is_below_what_concurrency_would_ask(
    steps: list[tuple[float, float]], season: float | None
) -> None:
    policy = PredictivePolicy(season=season)
    now = 0.0
    for pause, load in steps:
        now += pause
        wish = policy.wish(now, seen(load, startup_s=20.0))
        average = float(wish.reason.split(" in flight", maxsplit=1)[0])
        assert wish.replicas >= math.ceil((average - 0.01) / 10)
        assert wish.replicas >= 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"season": 25.0}, "must be a whole number of buckets, two at least; it is 2.5 of 10 s"),
        ({"season": 10.0}, "two at least; it is 1 of 10 s"),
        ({"season": DAY_S}, "4320 buckets at most, not 8640 of 10 s: set bucket to 20 or more"),
    ],
)
def test_a_season_that_does_not_fit_is_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        PredictivePolicy(**settings)  # type: ignore[arg-type]


# Its parts


def test_a_straight_line_is_forecast_exactly_without_damping() -> None:
    smoothing = Smoothing(damping=1.0)
    for step in range(200):
        smoothing.add(5.0 + 3.0 * step)
    assert smoothing.trend == pytest.approx(3.0)
    assert smoothing.forecast(1) == pytest.approx(5 + 3 * 200)
    assert smoothing.forecast(10) == smoothing.peak(10) == pytest.approx(5 + 3 * 209)


def test_the_peak_of_a_falling_line_is_the_next_step() -> None:
    smoothing = Smoothing(damping=1.0)
    for step in range(200):
        smoothing.add(600.0 - step)
    assert smoothing.forecast(1) == smoothing.peak(10) == pytest.approx(400.0)
    assert smoothing.forecast(10) == pytest.approx(391.0)


def test_two_steps_by_hand() -> None:
    smoothing = Smoothing(alpha=0.5, beta=0.2, damping=0.5)
    smoothing.add(10.0)
    assert (smoothing.level, smoothing.trend) == (10.0, 0.0)
    smoothing.add(20.0)
    # Level 0.5 * 20 + 0.5 * 10; trend 0.2 * (15 - 10).
    assert (smoothing.level, smoothing.trend) == (15.0, 1.0)
    smoothing.add(15.0)
    # Level 0.5 * 15 + 0.5 * 15.5; trend 0.2 * 0.25 + 0.8 * 0.5.
    assert (smoothing.level, smoothing.trend) == pytest.approx((15.25, 0.45))
    # 0.45 * (0.5 + 0.25 + 0.125).
    assert smoothing.forecast(3) == pytest.approx(15.25 + 0.39375)


def test_a_season_is_known_after_its_first_period_and_goes_with_the_level() -> None:
    smoothing = Smoothing(season=4)
    wave = [0.0, 10.0, 30.0, 20.0]
    for value in wave:
        smoothing.add(value)
    assert [smoothing.forecast(step) for step in (1, 2, 3, 4, 5)] == [0.0, 10.0, 30.0, 20.0, 0.0]
    assert (smoothing.peak(2), smoothing.peak(3), smoothing.peak(400)) == (10.0, 30.0, 30.0)
    smoothing.add(20.0)
    # Level 0.5 * (20 + 15) + 0.5 * 15; trend 0.1 * 10; term 0.3 * (20 - 15) + 0.7 * -15.
    assert (smoothing.level, smoothing.trend) == pytest.approx((25.0, 1.0))
    assert smoothing.forecast(1) == pytest.approx(25 + 0.9 - 5)
    assert smoothing.forecast(4) == pytest.approx(25 + (0.9 + 0.81 + 0.729 + 0.6561) - 9)


def test_a_quantile_of_the_latest_errors() -> None:
    errors = ForecastErrors(10)
    assert errors.quantile(0.9) == 0.0
    for index in range(1000):
        errors.expect(index, 0.0)
        errors.came(index, float(index % 10))
    assert [errors.quantile(share) for share in (0.1, 0.11, 0.5, 0.9, 0.99)] == [0, 1, 4, 8, 9]
    errors.expect(2000, 5.0)
    errors.came(1999, 1.0)
    assert errors._open == [(2000, 5.0)]
    errors.came(2001, 1.0)
    assert errors._open == []


def test_means_over_buckets_weigh_values_with_the_time_for_which_they_held() -> None:
    buckets = Buckets(0.0, 10.0)
    assert buckets.record(0.0, 4.0) == []
    assert buckets.record(5.0, 8.0) == []
    assert buckets.record(10.0, 1.0) == [6.0]
    assert buckets.record(25.0, 3.0) == [1.0]
    assert buckets.record(50.0, 0.0) == [2.0, 3.0, 3.0]
