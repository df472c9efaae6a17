from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.replay.pacing import OpenLoop
from orchestrator.replay.planned import Planned
from tests.unit.replay.virtual import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TICK_S = 0.001
"""Of the event loop's timers."""


async def planned(times: Sequence[float]) -> AsyncIterator[Planned]:
    for at in times:
        yield Planned(at, 0, 0, b"{}")


class Sent:
    """What was sent when, in the loop's time; each takes `seconds`."""

    def __init__(self, seconds: float = 0.0, most: int = 1000) -> None:
        self.loop = OpenLoop(asyncio.get_running_loop().time, most)
        self.times: list[float] = []
        self.ended = 0
        self._seconds = seconds

    async def one(self, _planned: Planned) -> None:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        self.ended += 1


@given(st.lists(st.floats(0, 1e4), max_size=50).map(sorted))
def test_each_is_sent_at_its_time(times):
    async def sent() -> Sent:
        sent = Sent()
        await sent.loop.run(planned(times), sent.one)
        await sent.loop.drain()
        return sent

    found = run(sent())
    late = [actual - due for actual, due in zip(found.times, times, strict=True)]
    assert all(-1e-6 <= each <= TICK_S + 1e-6 for each in late)
    assert found.ended == len(times)


def test_a_slow_answer_holds_nobody_up():
    async def sent() -> Sent:
        sent = Sent(seconds=100.0)
        await sent.loop.run(planned([0.0, 1.0, 2.0]), sent.one)
        assert sent.loop.under_way == 3
        await sent.loop.drain()
        return sent

    found = run(sent())
    assert found.times == pytest.approx([0.0, 1.0, 2.0], abs=TICK_S)
    assert found.ended == 3


def test_those_due_together_leave_answers_their_turn():
    async def sent() -> int:
        sent = Sent()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while len(sent.times) < 200:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await sent.loop.run(planned([0.0] * 200), sent.one)
        await other
        return turns

    assert run(sent()) > 5


def test_beyond_the_most_under_way_one_has_to_wait_and_that_is_told():
    async def sent() -> Sent:
        sent = Sent(seconds=10.0, most=2)
        await sent.loop.run(planned([0.0, 0.0, 0.0, 30.0]), sent.one)
        await sent.loop.drain()
        return sent

    found = run(sent())
    assert found.times == pytest.approx([0.0, 0.0, 10.0, 30.0], abs=TICK_S)
    assert found.loop.waited == 1


def test_stopped_in_a_pause_it_sends_no_more_and_cancels_the_rest():
    async def sent() -> tuple[Sent, int]:
        sent = Sent(seconds=50.0)
        asyncio.get_running_loop().call_later(5.0, sent.loop.stop)
        await sent.loop.run(planned([0.0, 1.0, 1000.0]), sent.one)
        await sent.loop.drain()
        await sent.loop.pause(1000.0)
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)
        return sent, await sent.loop.cancel()

    found, cut = run(sent())
    assert (len(found.times), found.ended, cut) == (2, 0, 2)


def test_an_error_of_the_program_ends_it_and_is_raised():
    async def fail(_planned: Planned) -> None:
        raise ZeroDivisionError

    async def sent() -> None:
        loop = OpenLoop(asyncio.get_running_loop().time, 10)
        await loop.run(planned([0.0, 1.0, 2.0]), fail)
        assert loop.stopped
        await loop.drain()

    with pytest.raises(ZeroDivisionError):
        run(sent())
