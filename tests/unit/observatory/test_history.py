"""The last 15 minutes of an environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.observatory.history import (
    RECENT,
    SERIES,
    STEP_S,
    STEPS,
    History,
    quantile,
    step_at,
)
from orchestrator.telemetry.instruments import Histogram
from orchestrator.telemetry.metrics import SECONDS

NOW = step_at(1_700_000_010.0)  # the first step of a point


def buckets(*seconds: float) -> list[int]:
    histogram = Histogram(SECONDS)
    for value in seconds:
        histogram.observe(value)
    return histogram.counts


def test_nothing_happened():
    history = History()
    series = history.series(NOW, STEPS)
    assert set(series) == set(SERIES)
    assert series["requests"] == [0.0] * STEPS
    assert series["p95"] == [None] * STEPS
    assert history.spark(NOW)["requests"] == [0] * 60
    assert history.recent(NOW) == (0, 0, 0, None)
    assert history.quiet(NOW)


def test_what_was_counted_stands_in_its_step_and_the_open_one_is_not_shown():
    history = History()
    history.count(NOW, 4, 1, 1, buckets(0.1, 0.1, 0.1, 3.0))
    history.count(NOW + 2, 1, 0, 0, buckets(0.1))
    assert history.series(NOW, 3)["requests"] == [0, 4, 0]  # of the newest step that it knows
    series = history.series(NOW + 3, 4)
    assert series["requests"] == [0, 4, 0, 1]
    assert series["errors"] == [0, 1, 0, 0]
    assert series["cold"] == [0, 1, 0, 0]
    assert series["p95"][0] is None
    assert series["p95"][1] == pytest.approx(4.4, abs=0.1)
    assert series["p95"][2] is None


def test_gauges_go_on_until_they_are_told_anew_and_no_peak_is_missed():
    history = History()
    history.gauge(NOW, waiting=5, in_flight=2, ready=1, desired=1)
    history.gauge(NOW, waiting=0)
    history.gauge(NOW + 4, ready=0, desired=0)
    series = history.series(NOW + 6, 6)
    assert series["waiting"] == [5, 0, 0, 0, 0, 0]
    assert series["in_flight"] == [2] * 6
    assert series["ready"] == [1, 1, 1, 1, 0, 0]


def test_what_is_older_than_15_minutes_is_gone():
    history = History()
    history.count(NOW, 9, 0, 0)
    history.gauge(NOW, ready=2)
    assert history.series(NOW + STEPS, STEPS)["requests"][0] == 9
    assert not any(history.series(NOW + STEPS + 1, STEPS)["requests"])
    assert history.series(NOW + 10 * STEPS, STEPS)["ready"] == [2] * STEPS
    assert history.quiet(NOW + STEPS + 10)


def test_sparklines_have_whole_points_only():
    history = History()
    history.count(NOW, 15, 0, 0, buckets(0.3))
    for later in (0, 1, 2):
        assert history.spark(NOW + later)["requests"][-1] == 0
    spark = history.spark(NOW + 3)
    assert spark["requests"][-1] == 1  # a second, over 15 s
    assert spark["p95"][-1] is not None
    assert spark["p95"][-2] is None
    assert history.spark(NOW + 5) is spark
    assert history.spark(NOW + STEPS)["requests"][0] == 1
    assert history.spark(NOW + STEPS + 3)["requests"] == [0] * 60


def test_the_last_minute():
    history = History()
    history.count(NOW, 10, 5, 2, buckets(*[0.1] * 10))
    history.count(NOW + 5, 10, 0, 0, buckets(*[0.1] * 10))
    assert history.recent(NOW + 5)[:3] == (20, 5, 2)
    assert history.recent(NOW + RECENT)[:3] == (10, 0, 0)
    assert history.recent(NOW + RECENT + 5) == (0, 0, 0, None)


def test_a_clock_that_is_set_back_breaks_nothing():
    history = History()
    history.count(NOW, 1, 0, 0)
    history.count(NOW - 50, 1, 0, 0)
    assert history.series(NOW + 1, 1)["requests"] == [2]
    history.spark(NOW - 100)


def test_quantiles():
    assert quantile(SECONDS, [0] * (len(SECONDS) + 1), 0.5) is None
    assert quantile((1.0, 2.0), [10, 10, 0], 0.5) == 1.0
    assert quantile((1.0, 2.0), [10, 10, 0], 0.75) == 1.5
    assert quantile((1.0, 2.0), [0, 0, 3], 0.5) == 2.0


@given(st.lists(st.floats(0, 2000), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_within_the_bucket_of_the_value_that_has_it(values, share):
    counts = buckets(*values)
    found = quantile(SECONDS, counts, share)
    import math  # noqa: PLC0415

    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    above = [bound for bound in SECONDS if bound >= exact]
    below = [bound for bound in SECONDS if bound < exact]
    assert found is not None
    assert (below[-1] if below else 0) <= found <= (above[0] if above else SECONDS[-1])


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 9)), max_size=40),
    st.integers(0, 200),
)
def test_the_ring_says_what_a_list_of_all_steps_would(events, later):
    events.sort()
    history = History()
    counted: dict[int, int] = {}
    for offset, count in events:
        history.count(NOW + offset, count, 0, 0)
        counted[offset] = counted.get(offset, 0) + count
    end = (events[-1][0] if events else 0) + 1 + later
    expected = [float(counted.get(offset, 0)) for offset in range(end - STEPS, end)]
    assert history.series(NOW + end, STEPS)["requests"] == expected


def test_steps_are_five_seconds():
    assert step_at(STEP_S * 7 + 4.9) == 7
