from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.replay.lags import Lags
from orchestrator.replay.validity import faults


def lags_of(*seconds: float) -> Lags:
    lags = Lags()
    for each in seconds:
        lags.add(each)
    return lags


def test_of_none_all_is_zero():
    assert (lags_of().within(0.99), lags_of().longest_s) == (0.0, 0.0)


@given(st.lists(st.floats(1e-5, 3000), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_a_percentile_is_at_most_four_percent_too_high(seconds, share):
    lags = lags_of(*seconds)
    exact = sorted(seconds)[max(math.ceil(share * len(seconds)) - 1, 0)]
    assert exact * (1 - 1e-9) <= lags.within(share) <= exact * 1.04 * (1 + 1e-9)
    assert lags.longest_s == max(seconds)


def test_in_time_and_beyond_an_hour_have_a_place():
    lags = lags_of(-1e-9, 0.0, 1e6)
    assert lags.within(0.5) <= 1e-5
    assert lags.within(1.0) == pytest.approx(3600, rel=0.05)
    assert lags.longest_s == 1e6


WELL: dict[str, Any] = {
    "median_s": 0.2,
    "waited": 0,
    "most": 10,
    "missed": 0,
    "asked": 100,
    "cut": 0,
}


@pytest.mark.parametrize(
    ("late", "change", "words"),
    [
        (0.001, {}, None),
        (0.004, {}, None),
        (0.008, {}, "sent more than"),
        (0.008, {"median_s": 1.0}, None),  # 1 % of the median
        (0.001, {"waited": 3}, "3 requests had to wait because 10 were under way"),
        (0.001, {"missed": 10}, None),
        (0.001, {"missed": 11}, "11 of 100 questions"),
    ],
)
def test_what_makes_a_replay_tell_of_its_own_machine(late, change, words):
    found = list(faults(lags=lags_of(*[late] * 50), stopped=False, **{**WELL, **change}))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_one_that_was_stopped_says_so():
    found = list(faults(lags=lags_of(0.001, 0.001), stopped=True, **{**WELL, "cut": 1}))
    assert found == ["it was stopped after 2 requests, 1 of which had not ended"]
