"""What may be under way to receivers at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.lifecycle.webhook import BreakerRules
from orchestrator.webhooks import traffic as module
from orchestrator.webhooks.traffic import BUSY_S, Held, Passage, Traffic

if TYPE_CHECKING:
    import pytest


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _traffic(per_host: int = 2, **settings: object) -> tuple[Traffic, Clock]:
    clock = Clock()
    return Traffic(per_host, BreakerRules(failures=2), clock=clock, **settings), clock  # type: ignore[arg-type]


def _enter(traffic: Traffic, host: str = "a") -> Passage:
    passage = traffic.enter(host)
    assert isinstance(passage, Passage)
    return passage


def test_a_host_has_no_more_under_way_than_its_bound() -> None:
    traffic, _ = _traffic()
    first, _second = _enter(traffic), _enter(traffic)
    held = traffic.enter("a")
    assert isinstance(held, Held)
    assert not held.failing
    assert traffic.busy() == ["a"]
    _enter(traffic, "b")
    traffic.leave(first, alive=True)
    assert traffic.busy() == []
    _enter(traffic)


def test_no_more_is_claimed_than_one_host_could_take() -> None:
    traffic, _ = _traffic(per_host=4)
    assert traffic.room() == 4
    for _ in range(3):
        _enter(traffic)
    assert traffic.room() == 1
    _enter(traffic)
    assert traffic.room() == 4, "what is for the full host is left out of the claim"


def test_the_bound_may_change_while_much_is_under_way() -> None:
    traffic, _ = _traffic(per_host=4)
    passages = [_enter(traffic) for _ in range(4)]
    traffic.per_host = 1
    assert traffic.room() == 1
    for passage in passages[:3]:
        traffic.leave(passage, alive=True)
    assert traffic.busy() == ["a"]
    traffic.leave(passages[3], alive=True)
    assert traffic.busy() == []


def test_who_wants_to_know_is_told_once_that_a_full_host_has_room() -> None:
    traffic, _ = _traffic(per_host=1)
    told: list[str] = []
    hear = lambda: told.append("room")  # noqa: E731
    passage = _enter(traffic)
    traffic.tell_when_free(hear)
    traffic.tell_when_free(hear)
    traffic.leave(passage, alive=True)
    traffic.leave(_enter(traffic), alive=True)
    assert told == ["room"]


def test_a_failing_host_is_left_alone_and_others_are_not() -> None:
    traffic, clock = _traffic()
    for _ in range(2):
        traffic.leave(_enter(traffic), alive=False)
    assert traffic.enter("a") == Held(30.0, failing=True)
    _enter(traffic, "b")
    clock.now += 30.0
    told: list[str] = []
    probe = _enter(traffic)
    assert traffic.enter("a") == Held(BUSY_S, failing=False)
    assert traffic.busy() == ["a"]
    traffic.tell_when_free(lambda: told.append("a"))
    traffic.leave(probe, alive=True)
    assert told == ["a"]
    assert traffic.busy() == []
    _enter(traffic)
    _enter(traffic)


def test_a_try_that_was_not_made_says_nothing_about_the_host() -> None:
    traffic, clock = _traffic()
    for _ in range(5):
        traffic.leave(_enter(traffic), alive=None)
    for _ in range(2):
        traffic.leave(_enter(traffic), alive=False)
    clock.now += 30.0
    traffic.leave(_enter(traffic), alive=None)
    _enter(traffic)


def test_pauses_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ray.serve")
    traffic, clock = _traffic(per_host=9)
    for passage in [_enter(traffic) for _ in range(9)]:
        traffic.leave(passage, alive=False)
    clock.now += 30.0
    traffic.leave(_enter(traffic), alive=True)
    assert [record.getMessage() for record in caplog.records] == [
        "webhooks: a fails and is paused 30 s",
        "webhooks: a works again",
    ]


def test_only_so_many_hosts_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOSTS", 3)
    traffic, _ = _traffic()
    for host in "abcd":
        for _ in range(2):
            traffic.leave(_enter(traffic, host), alive=False)
    assert isinstance(traffic.enter("d"), Held)
    _enter(traffic, "a")
    assert len(traffic._breakers) == 3


async def test_results_wait_for_room_in_memory_in_their_order() -> None:
    traffic, _ = _traffic(result_bytes=100)
    order: list[int] = []
    doors = [asyncio.Event() for _ in range(4)]

    async def hold(number: int, size: int) -> None:
        async with traffic.holding(size):
            order.append(number)
            await doors[number].wait()

    tasks = []
    for number, size in enumerate((60, 60, 10, 1000)):
        tasks.append(asyncio.create_task(hold(number, size)))
        await asyncio.sleep(0)
    assert order == [0], "the small one does not overtake"
    doors[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    assert order == [0, 1, 2]
    doors[1].set()
    doors[2].set()
    await asyncio.gather(*tasks[1:3])
    await asyncio.sleep(0)
    assert order == [0, 1, 2, 3], "one that is larger than all goes alone"
    doors[3].set()
    await tasks[3]
    assert traffic._bytes_used == 0


async def test_who_gives_up_waiting_for_memory_holds_up_nobody() -> None:
    traffic, _ = _traffic(result_bytes=100)
    holding = traffic.holding(100)
    await holding.__aenter__()

    async def wait(size: int) -> None:
        async with traffic.holding(size):
            pass

    tasks = []
    for size in (90, 50, 50):
        tasks.append(asyncio.create_task(wait(size)))
        await asyncio.sleep(0)
    tasks[0].cancel()  # and before it has heard of that, there is room
    await holding.__aexit__(None, None, None)
    tasks[1].cancel()  # in the same step in which it is granted
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[2].exception() is None
    assert traffic._bytes_used == 0
