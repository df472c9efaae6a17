"""Medians and ratios."""

import pytest

from tests.benchmarks.suite import ECHO, OURS, Case
from tests.benchmarks.summary import COMPARISONS, latency_ratio, summarise, throughput_ratio
from tests.unit.benchmarks.figures import GOOD, run, runs

OURS_16, THEIRS_16 = Case(OURS, ECHO, 16), Case("litserve", ECHO, 16)


def test_one_slow_round_does_not_move_the_median():
    summary = summarise(
        [run(OURS_16, rate, p50) for rate, p50 in ((100, 9.0), (1000, 1.0), (1100, 1.2))]
    )

    seen = summary[OURS_16]
    assert (seen.throughput, seen.p50_ms) == (1000, 1.2)
    assert seen.p99_ms == pytest.approx(3.6)
    assert (seen.throughput_min, seen.throughput_max, seen.rounds) == (100, 1100, 3)


def test_even_number_of_rounds_takes_the_middle():
    assert summarise([run(OURS_16, 100), run(OURS_16, 200)])[OURS_16].throughput == 150


def test_errors_of_all_rounds_add_up():
    seen = summarise([run(OURS_16, 10, errors=1), run(OURS_16, 10, errors=2)])

    assert seen[OURS_16].errors == 3


def test_cases_keep_the_order_in_which_they_ran():
    assert list(summarise(runs())) == list(GOOD)


def test_ratios_divide_the_first_by_the_second():
    summary = summarise(runs())

    assert throughput_ratio(summary, OURS_16, THEIRS_16) == 2
    assert latency_ratio(summary, OURS_16, THEIRS_16) == 0.5


def test_ratio_to_what_was_not_measured_is_none():
    summary = summarise([run(OURS_16, 100)])

    assert throughput_ratio(summary, OURS_16, THEIRS_16) is None
    assert latency_ratio(summary, THEIRS_16, OURS_16) is None


def test_ratio_to_nothing_is_none():
    summary = summarise([run(OURS_16, 100), run(THEIRS_16, 0, 0.0)])

    assert throughput_ratio(summary, OURS_16, THEIRS_16) is None
    assert latency_ratio(summary, OURS_16, THEIRS_16) is None


def test_every_comparison_is_between_cases_that_the_plan_measures():
    for comparison in COMPARISONS:
        assert {comparison.contended, comparison.reference} <= set(GOOD)
