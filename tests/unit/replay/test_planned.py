from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.replay import planned
from orchestrator.replay.planned import Planned, ReadAhead, Traffic, planned_requests
from orchestrator.replay.template import DEFAULT, Template
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def traffic(
    times: Iterable[float],
    *,
    seconds: Callable[[Arrival], float] = lambda _: 0.5,
    deadline: Callable[[], float] | None = None,
    **fields: Any,
) -> Traffic:
    arrivals = (Arrival(at, **fields) for at in times)
    return Traffic(arrivals, seconds, deadline, Template(DEFAULT))


times = st.lists(st.floats(0, 100), max_size=20).map(sorted)


@given(st.lists(times, min_size=1, max_size=4))
def test_all_environments_in_the_order_of_time(each):
    found = list(planned_requests([traffic(times) for times in each]))
    assert [planned.at for planned in found] == sorted(itertools.chain(*each))
    for index, times in enumerate(each):
        assert [planned.at for planned in found if planned.environment == index] == times


def test_none_comes_when_the_experiment_is_over():
    found = planned_requests([traffic(itertools.count(0.0, 1.0))], duration_s=3.0)
    assert [planned.at for planned in found] == [0.0, 1.0, 2.0, 3.0]


def test_times_are_drawn_in_the_order_of_arrival_and_go_into_the_body():
    numbers = iter([0.1, 0.2, 0.3])
    found = list(planned_requests([traffic([0, 1, 2], seconds=lambda _: next(numbers))]))
    assert [planned.service_s for planned in found] == [0.1, 0.2, 0.3]
    bodies = [json.loads(planned.body)["service_seconds"] for planned in found]
    assert bodies == [0.1, 0.2, 0.3]


def test_a_callers_patience_is_drawn_or_as_recorded():
    recorded = list(planned_requests([traffic([0.0], deadline_s=4.0, asynchronous=True)]))
    drawn = list(planned_requests([traffic([0.0], deadline_s=4.0, deadline=lambda: 9.0)]))
    assert (recorded[0].deadline_s, recorded[0].asynchronous) == (4.0, True)
    assert (drawn[0].deadline_s, drawn[0].asynchronous) == (9.0, False)


async def read(found: Iterator[Planned]) -> list[Planned]:
    ahead = ReadAhead(found)
    await ahead.start()
    try:
        return [each async for each in ahead]
    finally:
        ahead.close()


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
async def test_reading_ahead_gives_all_in_order(count):
    expected = [Planned(float(at), 0, 0, b"") for at in range(count)]
    assert await read(iter(expected)) == expected


async def test_what_is_endless_is_read_as_far_as_it_is_needed(monkeypatch):
    monkeypatch.setattr(planned, "AHEAD", 3)
    read_so_far = 0

    def endless() -> Iterator[Planned]:
        nonlocal read_so_far
        for at in itertools.count():
            read_so_far = at
            yield Planned(float(at), 0, 0, b"")

    ahead = ReadAhead(endless())
    await ahead.start()
    in_the_beginning = read_so_far
    taken = []
    async for each in ahead:
        taken.append(each.at)
        if len(taken) == 10_000:
            break
    ahead.close()
    assert in_the_beginning < 5 * planned.BATCH
    assert taken == [float(at) for at in range(10_000)]


async def test_a_row_that_is_wrong_stops_it_there():
    def broken() -> Iterator[Planned]:
        yield Planned(0.0, 0, 0, b"")
        raise TrafficError("trace.csv", 2, "is nonsense", "a number")

    with pytest.raises(TrafficError, match=r"trace.csv.*2"):
        await read(broken())
