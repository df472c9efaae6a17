"""Cutting and scaling: what is kept, when it comes, and what it is completed with."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.traffic import scaling
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.rows import Rows, joined, merged, pieces
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import arrivals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.unit.traffic.conftest import Reading, Writing

EVERY_SECOND = "at\n" + "\n".join(map(str, range(10)))
TABLE: dict[str, Any] = {"file": "t.csv", "columns": {"at": "at"}}

moments = st.lists(st.floats(0, 1000), min_size=1, max_size=60).map(sorted)


def rows_of(at: Iterable[float], size: int = 7) -> Iterator[Rows]:
    """In small pieces, so that what goes over their borders shows."""
    return pieces(Rows(at=np.array(list(at))), size)


def times_of(rows: Iterable[Rows]) -> list[float]:
    return [at for part in rows for at in part.at.tolist()]


def test_times_are_scaled_exactly_and_nothing_else(reading: Reading, write: Writing) -> None:
    write("t.csv", "at,s,d\n0,2,9\n4,3,9\n10,4,9\n")
    columns = {"at": "at", "service_seconds": "s", "deadline_seconds": "d"}
    found = reading({"trace": {"file": "t.csv", "columns": columns}, "time_scale": 0.05})
    assert [(each.at, each.service_s, each.deadline_s) for each in found] == [
        (0.0, 2.0, 9.0),
        (4 * 0.05, 3.0, 9.0),
        (10 * 0.05, 4.0, 9.0),
    ]


def test_a_part_is_cut_out_before_it_is_scaled_and_begins_at_zero(
    reading: Reading, write: Writing
) -> None:
    write("t.csv", EVERY_SECOND)
    cut = {"trace": TABLE, "start_seconds": 3, "duration_seconds": 4}
    assert [each.at for each in reading(cut)] == [0, 1, 2, 3]
    assert [each.at for each in reading(cut | {"time_scale": 2})] == [0, 2, 4, 6]


def test_a_part_keeps_the_pause_at_its_beginning(reading: Reading, write: Writing) -> None:
    write("t.csv", "at\n0\n7\n8\n")
    found = reading({"trace": TABLE, "start_seconds": 5})
    assert [each.at for each in found] == [2, 3]


@settings(deadline=None)
@given(moments, st.floats(0, 1000), st.floats(0.1, 1000))
def test_a_part_is_what_lies_in_it(at: list[float], begin: float, length: float) -> None:
    expected = [each - begin for each in at if begin <= each < begin + length]
    assert times_of(scaling.cut(rows_of(at), begin, begin + length)) == expected


def test_thinning_keeps_its_share(reading: Reading) -> None:
    rng = np.random.default_rng(3)
    kept = times_of(scaling.thinned(rows_of(range(100_000), 8192), 0.3, rng))
    # A binomial count: four standard deviations.
    assert len(kept) == pytest.approx(30_000, abs=4 * np.sqrt(100_000 * 0.3 * 0.7))
    assert kept == sorted(set(kept))


def test_twice_the_rate_is_the_trace_and_a_copy_that_is_shifted_as_a_whole(
    reading: Reading, write: Writing
) -> None:
    write("t.csv", EVERY_SECOND)
    found = [each.at for each in reading({"trace": TABLE, "rate_scale": 2})]
    copies = [at for at in found if at not in range(10)]
    assert [at for at in found if at in range(10)] == list(range(10))
    assert len(copies) == 10
    assert 0 < copies[0] <= 60
    assert np.diff(copies) == pytest.approx(1)
    assert found == sorted(found)


@settings(deadline=None)
@given(moments, st.sampled_from([1.0, 2.0, 3.0, 7.0]), st.floats(0, 300), st.integers(0, 99))
def test_whole_copies_leave_nothing_out(
    at: list[float], times: float, shift: float, seed: int
) -> None:
    found = times_of(scaling.overlaid(rows_of(at), times, shift, np.random.default_rng(seed)))
    assert len(found) == times * len(at)
    assert found == sorted(found)
    shifts = [0.0, *(np.random.default_rng(seed).random(int(times) - 1) * shift)]
    expected = sorted(each + later for each in np.array(at) for later in shifts)
    assert found == pytest.approx(expected)


def test_a_fraction_of_a_copy_is_a_thinned_one() -> None:
    rng = np.random.default_rng(3)
    found = times_of(scaling.overlaid(rows_of(range(50_000), 8192), 2.5, 60, rng))
    assert len(found) == pytest.approx(125_000, abs=4 * np.sqrt(50_000 * 0.25))
    assert found == sorted(found)


def test_copies_carry_everything_that_a_request_has(reading: Reading, write: Writing) -> None:
    write("t.csv", "at,p,e\n0,5,a\n1,6,b\n")
    columns = {"at": "at", "prompt_tokens": "p", "environment": "e"}
    found = reading({"trace": {"file": "t.csv", "columns": columns}, "rate_scale": 3})
    assert sorted((each.prompt_tokens, each.environment) for each in found) == [
        *[(5, "a")] * 3,
        *[(6, "b")] * 3,
    ]


def test_a_share_is_for_later_and_the_rest_is_not(reading: Reading) -> None:
    settings = {"poisson": {"rate": 100}, "duration_seconds": 200, "asynchronous_percent": 25}
    found = reading(settings)
    share = sum(each.asynchronous for each in found) / len(found)
    assert share == pytest.approx(0.25, abs=0.013)


def test_callers_and_lengths_are_what_the_settings_say(reading: Reading) -> None:
    settings = {
        "poisson": {"rate": 100},
        "duration_seconds": 100,
        "deadline_seconds": 30,
        "tokens": {"prompt": {"uniform": {"low": 0, "high": 10}}, "output": 7.4},
    }
    found = reading(settings)
    assert {each.deadline_s for each in found} == {30.0}
    assert {each.output_tokens for each in found} == {7}
    assert {each.prompt_tokens for each in found} == set(range(1, 11))


def test_lengths_are_drawn_only_where_the_trace_has_none(reading: Reading, write: Writing) -> None:
    write("t.csv", "at,p\n0,5\n1,\n2,6\n")
    trace = {"file": "t.csv", "columns": {"at": "at", "prompt_tokens": "p"}}
    found = reading({"trace": trace, "tokens": {"prompt": 100}})
    assert [each.prompt_tokens for each in found] == [5, 100, 6]
    assert [each.output_tokens for each in found] == [0, 0, 0]


@pytest.mark.parametrize(
    "more",
    [
        {"asynchronous_percent": 50},
        {"tokens": {"prompt": {"exponential": {"mean": 10}}}},
        {"deadline_seconds": 4},
    ],
)
def test_what_is_added_to_requests_does_not_move_them(
    reading: Reading, more: dict[str, Any]
) -> None:
    plain = {"gamma": {"rate": 10, "cv": 2}, "duration_seconds": 2000}
    assert [each.at for each in reading(plain)] == [each.at for each in reading(plain | more)]


def test_columns_that_some_parts_lack_are_filled_with_what_is_not_known() -> None:
    bare = Rows(at=np.array([1.0]))
    full = Rows(
        at=np.array([0.0]),
        prompt_tokens=np.array([3]),
        service_s=np.array([0.5]),
        environment=np.array(["a"], dtype=object),
    )
    assert list(joined([bare, full]).arrivals()) == [
        Arrival(1.0),
        Arrival(0.0, 3, 0, 0.5, environment="a"),
    ]
    assert [each.at for each in merged([bare, full]).arrivals()] == [0.0, 1.0]


def test_requests_at_the_same_moment_stay_in_their_order() -> None:
    at = np.repeat(np.arange(40.0), 5)
    parts = [Rows(at=at, prompt_tokens=np.arange(200) + begin) for begin in (0, 200)]
    found = [(each.at, each.prompt_tokens) for each in merged(parts).arrivals()]
    assert found == sorted(found)


def test_chance_decides_each_thing_by_itself(reading: Reading) -> None:
    spread = {"exponential": {"mean": 1e6}}
    settings = {"poisson": {"rate": 1}, "tokens": {"prompt": spread, "output": spread}}
    found = reading(settings | {"asynchronous_percent": 50}, most=4000)
    columns: list[Any] = [
        np.diff([0.0, *(each.at for each in found)]),
        [each.prompt_tokens for each in found],
        [each.output_tokens for each in found],
        [float(each.asynchronous) for each in found],
    ]
    correlations = np.corrcoef(np.array(columns, dtype=np.float64))
    assert np.abs(correlations - np.eye(4)).max() < 4 / np.sqrt(4000)


def test_a_million_requests_take_no_more_memory_than_a_few() -> None:
    settings = Arrivals.model_validate(
        {"poisson": {"rate": 1000}, "tokens": {"prompt": {"exponential": {"mean": 50}}}}
    )
    found = arrivals(settings, 1, folder=Path())
    last = next(islice(found, 20_000, None))
    tracemalloc.start()
    try:
        for last in islice(found, 1_000_000):  # noqa: B007
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last.at == pytest.approx(1020, rel=0.01)
    assert peak < 8_000_000
