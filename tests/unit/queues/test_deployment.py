"""The queue's shell: what it does beside handing calls on to its core."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.environment_queue import SETTLED_AFTER_S
from orchestrator.observatory.protocol import Nowhere
from orchestrator.queues import deployment
from orchestrator.queues.deployment import TROUBLE_LOG_S, Queue
from tests.unit.lifecycle.scaling.policies import HERE, Recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def user_config(*policies: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "m",
        "environment": "production",
        "deployment": "v1",
        "queue": {},
        "autoscaling": {"policies": list(policies)},
        "startup": {},
    }


class Clock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deployment, "time", clock)
    return clock


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the queue logs, level first."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    handler = Lines()
    deployment.logger.addHandler(handler)
    with caplog.at_level(logging.INFO, logger=deployment.logger.name):
        yield lines
    deployment.logger.removeHandler(handler)


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    queue = Queue(Nowhere)
    yield queue
    await queue.close()


def tick(queue: Queue, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    queue._decide()
    queue._tell()


async def turns() -> None:
    """Lets all that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_policy_that_cannot_be_loaded_is_logged_once_and_when_it_is_over(
    clock: Clock, logged: list[str], queue: Queue
):
    await queue.reconfigure(user_config({"name": "nowhere:Policy"}))
    for _ in range(20):
        tick(queue, clock, 0.1)
    trouble = "policy nowhere:Policy cannot be loaded: there is no module 'nowhere'"
    assert logged == [f"ERROR m.production: {trouble}"]
    await queue.reconfigure(user_config({"name": "concurrency"}))
    tick(queue, clock, TROUBLE_LOG_S)
    assert logged[1:] == ["INFO m.production: its scaling policies work again"]


async def test_a_policy_that_fails_in_other_words_each_time_is_logged_once_a_minute(
    clock: Clock, logged: list[str], queue: Queue
):
    numbered = {"name": f"{HERE}:FailsInOtherWords"}
    await queue.reconfigure(user_config(numbered))
    for _ in range(130):
        tick(queue, clock, 1.0)
    assert [line.rpartition(" ")[2] for line in logged] == ["1", "61", "121"]


async def test_policies_are_told_the_time_of_day(clock: Clock, queue: Queue):
    await queue.reconfigure(user_config({"name": f"{HERE}:Recording"}))
    tick(queue, clock, 5.0)
    assert Recording.seen[-1].unix_s == pytest.approx(clock.time())


async def test_serves_controller_hears_at_once_that_the_queue_has_settled_and_wants_more(
    clock: Clock, queue: Queue
):
    await queue.reconfigure(user_config())
    assert await queue.desired(None) == (0, False)
    settled = asyncio.create_task(queue.desired((0, False)))
    tick(queue, clock, SETTLED_AFTER_S - 0.1)
    await turns()
    assert not settled.done()
    tick(queue, clock, 0.1)
    assert await settled == (0, True)
    more = asyncio.create_task(queue.desired((0, True)))
    await turns()
    await queue.wake()
    tick(queue, clock, 0.1)
    assert await more == (1, True)
    assert await queue.desired((0, True)) == (1, True), "it had changed before it was asked"


async def test_nothing_new_is_told_after_a_while(
    clock: Clock, queue: Queue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deployment, "WATCH_S", 0.01)
    await queue.reconfigure(user_config())
    clock.now += SETTLED_AFTER_S
    assert await queue.desired((0, True)) == (0, True)
