"""Sums over time: nothing is lost when bins become wider."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reports.bins import BINS, FIRST_WIDTH_S, Bins, Levels

MOMENTS = st.lists(st.floats(0, 1e5), min_size=1, max_size=50)


@settings(deadline=None)
@given(MOMENTS)
def test_each_event_is_in_one_bin_however_long_the_run(moments: list[float]) -> None:
    bins = Bins(1)
    for moment in moments:
        bins.add(0, np.array([moment]))
    until = max(moments)
    sums = bins.up_to(until)[0]
    assert sums.sum() == len(moments)
    assert len(sums) <= BINS
    assert bins.seconds(until).sum() == pytest.approx(until, abs=1e-6)


def test_bins_double_their_width_when_the_run_outgrows_them() -> None:
    bins = Bins(1)
    bins.add(0, np.array([0.0, 59.95]))
    assert bins.width_s == FIRST_WIDTH_S
    bins.add(0, np.array([60.0]))
    assert bins.width_s == 2 * FIRST_WIDTH_S
    sums = bins.up_to(60.0)[0]
    assert (len(sums), sums[0], sums[-1]) == (300, 1, 2)


def test_what_happens_at_the_very_end_is_in_the_last_bin() -> None:
    bins = Bins(1)
    bins.add(0, np.array([9.95, 10.0]))
    sums = bins.up_to(10.0)[0]
    assert len(sums) == 100
    assert sums[-1] == 2


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 500), st.integers(0, 9)), min_size=1, max_size=60),
    st.floats(0, 1000),
)
def test_a_level_is_integrated_exactly(steps: list[tuple[float, int]], more: float) -> None:
    levels = Levels(1)
    now, last, area = 0.0, 0, 0.0
    for after, value in steps:
        area += last * after
        now, last = now + after, value
        levels.set(now, (float(value),))
    area += last * more
    levels.flush(now + more)
    assert levels.bins.up_to(now + more).sum() == pytest.approx(area, rel=1e-9, abs=1e-9)
    assert levels.peaks[0] == max(value for _, value in steps)


def test_a_level_lies_in_the_bins_for_which_it_held() -> None:
    levels = Levels(1)
    levels.set(0.05, (2.0,))
    levels.set(0.25, (0.0,))
    levels.flush(0.4)
    assert levels.bins.up_to(0.4)[0] == pytest.approx([0.1, 0.2, 0.1, 0.0])


def test_more_changes_than_are_held_back_give_the_same_sums() -> None:
    levels = Levels(2)
    for number in range(20_000):
        levels.set(number * 0.5, (float(number % 2), 3.0))
    levels.flush(10_000.0)
    sums = levels.bins.up_to(10_000.0).sum(axis=1)
    assert sums == pytest.approx([5_000.0, 30_000.0])


@settings(deadline=None)
@given(MOMENTS, MOMENTS)
def test_bins_of_different_widths_add_up(one: list[float], other: list[float]) -> None:
    first, second, both = Bins(1), Bins(1), Bins(1)
    first.add(0, np.array(one))
    second.add(0, np.array(other))
    both.add(0, np.array([*one, *other]))
    untouched = second.up_to(1e5)[0].copy()
    first.merge(second)
    assert np.array_equal(first.up_to(1e5), both.up_to(1e5))
    assert np.array_equal(second.up_to(1e5)[0], untouched)
