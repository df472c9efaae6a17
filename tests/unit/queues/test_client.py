"""The permit client against a queue in the same process; only the way between them is made here."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.errors import (
    Draining,
    EnvironmentUnhealthy,
    NoFreeSlot,
    ParkTimeout,
    QueueFull,
)
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.settings import EnvironmentSettings
from orchestrator.queues import client as client_module
from orchestrator.queues.client import Permit, PermitClient
from orchestrator.queues.handle import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orchestrator.lifecycle.permits import Exchange, Reply

LONG_S = 30.0
"""A deadline that no test comes near."""


class QueueNearby:
    """The core as a queue that the client can call, with a switch to take it away."""

    def __init__(self) -> None:
        self.lives = 0
        self.up = True
        self.calls = 0
        self.woken = 0
        self.changed = asyncio.Condition()
        self.start_anew()

    def start_anew(self) -> None:
        """A new life, which knows nothing."""
        self.lives += 1
        settings = EnvironmentSettings.from_mapping(
            {
                "model": "m",
                "environment": "production",
                "deployment": "v1",
                "queue": {},
                "autoscaling": {"concurrency_target": 100},
                "startup": {"attempts": 1},
            }
        )
        self.core = EnvironmentQueue(settings, f"life{self.lives}", time.monotonic())

    async def tell(self) -> None:
        """Let watches and tests look again."""
        async with self.changed:
            self.changed.notify_all()

    async def report(self, replica_id: str, stage: Stage, slots: int = 1, **more: Any) -> None:
        report = ReplicaReport(
            replica_id, "v1", stage, slots, address=f"http://{replica_id}", **more
        )
        self.core.report(report, time.monotonic())
        await self.tell()

    async def start(self, replica_id: str = "r1", slots: int = 1) -> None:
        await self.report(replica_id, Stage.STARTING, slots)
        await self.report(replica_id, Stage.READY, slots)

    async def until(self, reached: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the queue's description of itself is as wanted."""
        async with self.changed, asyncio.timeout(10):
            await self.changed.wait_for(lambda: reached(self.core.describe(time.monotonic())))

    async def until_waiting(self, n: int) -> None:
        await self.until(lambda described: described["waiting"] == n)

    def check_up(self) -> None:
        self.calls += 1
        if not self.up:
            raise QueueUnavailable("the queue is away")

    # What the client calls

    async def exchange(self, message: Exchange) -> Reply:
        self.check_up()
        reply = self.core.exchange(message, time.monotonic())
        await self.tell()
        self.check_up()
        return reply

    async def watch(self, holder: str, term: str, acked: int) -> Reply | None:
        self.check_up()
        core = self.core
        if not core.renew(holder, time.monotonic()):
            return None
        news: Reply | None = None

        def arrived() -> bool:
            nonlocal news
            news = core.news(holder, term, acked, time.monotonic())
            return news is not None or not self.up or core is not self.core

        try:
            async with self.changed, asyncio.timeout(1.0):
                await self.changed.wait_for(arrived)
        except TimeoutError:
            return None
        self.check_up()
        return news

    async def ahead(self, holder: str, age_s: float) -> int:
        self.check_up()
        return self.core.ahead(holder, age_s, time.monotonic())

    async def wake(self) -> None:
        self.check_up()
        self.woken += 1

    async def describe(self) -> dict[str, Any]:
        self.check_up()
        return self.core.describe(time.monotonic())


@asynccontextmanager
async def client_of(queue: QueueNearby, **settings: Any) -> AsyncIterator[PermitClient]:
    client = PermitClient("m.production", settings, queue)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def queue() -> QueueNearby:
    return QueueNearby()


@pytest.fixture
async def client(queue: QueueNearby) -> AsyncIterator[PermitClient]:
    async with client_of(queue) as client:
        yield client


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(client_module, "BACKOFF_LAST_S", 0.02)


def within(seconds: float = LONG_S) -> float:
    return time.monotonic() + seconds


def asking(client: PermitClient, **more: Any) -> asyncio.Task[Permit]:
    return asyncio.create_task(client.acquire(deadline=within(), **more))


async def in_line(queue: QueueNearby, client: PermitClient, n: int) -> list[asyncio.Task[Permit]]:
    """So many requests in line, in this order, and known to the queue."""
    requests = []
    for _ in range(n):
        requests.append(asking(client))
        await asyncio.sleep(0)
    await queue.until_waiting(n)
    return requests


# Asking and giving back


async def test_a_free_slot_is_had_at_once(queue: QueueNearby, client: PermitClient):
    await queue.start()
    permit = await client.acquire(deadline=within())
    assert (permit.replica_id, permit.address) == ("r1", "http://r1")
    assert permit.waited_s < 1.0


async def test_a_permit_that_was_given_back_is_at_hand_for_the_next(
    queue: QueueNearby, client: PermitClient
):
    await queue.start()
    assert client.try_acquire() is None
    client.release(await client.acquire(deadline=within()))
    permit = client.try_acquire()
    assert permit is not None
    assert permit.waited_s == 0.0
    assert client.try_acquire() is None
    client.release(permit)
    assert (await client.acquire(deadline=within())).slot is permit.slot


async def test_a_permit_that_nobody_needs_goes_back_to_the_queue(queue: QueueNearby):
    async with client_of(queue, keep_s=0.05) as client:
        await queue.start()
        client.release(await client.acquire(deadline=within()))
        await queue.until(lambda d: d["replicas"][0]["permits"] == 0)
        assert client.try_acquire() is None


async def test_a_permit_is_given_back_once(queue: QueueNearby, client: PermitClient):
    await queue.start()
    permit = await client.acquire(deadline=within())
    client.release(permit)
    with pytest.raises(ValueError, match="not in use"):
        client.release(permit)


async def test_those_in_line_are_served_in_order(queue: QueueNearby, client: PermitClient):
    requests = await in_line(queue, client, 3)
    await queue.start()
    for request in requests:
        permit = await request
        assert not any(later.done() for later in requests[requests.index(request) + 1 :])
        assert permit.cold_start
        client.release(permit)


async def test_one_that_is_put_back_is_before_those_that_came_later(
    queue: QueueNearby, client: PermitClient
):
    await queue.start()
    permit = await client.acquire(deadline=within())
    later = await in_line(queue, client, 1)
    again = asking(client, ticket=permit.ticket)
    await asyncio.sleep(0)
    client.release(permit)
    second = await again
    assert second.ticket == permit.ticket
    assert not later[0].done()
    client.release(second)
    await later[0]


async def test_a_slot_passes_between_two_clients(queue: QueueNearby):
    async with client_of(queue) as one, client_of(queue) as other:
        await queue.start()
        one_s = await one.acquire(deadline=within())
        (waiting,) = await in_line(queue, other, 1)
        one.release(one_s)
        assert (await waiting).replica_id == "r1"
        assert one.try_acquire() is None


async def test_a_place_in_line_counts_those_before_it_here_and_elsewhere(queue: QueueNearby):
    async with client_of(queue) as one, client_of(queue) as other:
        assert not one.has_replicas
        first = asking(one, owner="first")
        await queue.until_waiting(1)
        second = asking(other, owner="second")
        await queue.until_waiting(2)
        third = asking(one, owner="third")
        await queue.until_waiting(3)
        assert [await one.place("first"), await other.place("second")] == [0, 1]
        assert await one.place("third") == 2
        assert await other.place("third") is None

        queue.up = False
        assert await one.place("third") == 1  # of those that wait here
        queue.up = True

        await queue.start(slots=3)
        permits = await asyncio.gather(first, second, third)
        assert await one.place("first") is None
        assert one.has_replicas
        for client, permit in zip((one, other, one), permits, strict=True):
            client.release(permit)


async def test_who_left_the_line_has_no_place_in_it(queue: QueueNearby, client: PermitClient):
    request = asking(client, owner="mine")
    await queue.until_waiting(1)
    request.cancel()
    await asyncio.wait([request])
    assert await client.place("mine") is None
    assert not client._owners


async def test_a_replica_that_failed_is_used_again_once_it_reports(
    queue: QueueNearby, client: PermitClient
):
    await queue.start()
    client.release(await client.acquire(deadline=within()), failed=True)
    assert client.try_acquire() is None
    (waiting,) = await in_line(queue, client, 1)
    await queue.until(lambda described: described["replicas"][0]["suspect"])
    assert not waiting.done()
    await queue.report("r1", Stage.READY)
    await waiting


async def test_a_request_avoids_and_prefers_replicas(queue: QueueNearby, client: PermitClient):
    for replica_id in ("r1", "r2", "r3"):
        await queue.start(replica_id)
    avoiding = await client.acquire(deadline=within(), avoid=frozenset({"r1"}))
    preferring = await client.acquire(deadline=within(), prefer="r3")
    assert [avoiding.replica_id, preferring.replica_id] == ["r2", "r3"]


# Leaving the line


async def test_the_deadline_ends_the_waiting(queue: QueueNearby, client: PermitClient):
    await client.wake()
    with pytest.raises(ParkTimeout) as caught:
        await client.acquire(deadline=within(0.05))
    assert caught.value.waited_s == pytest.approx(0.05, abs=0.04)
    await queue.until_waiting(0)


async def test_a_nearer_deadline_is_kept_behind_a_farther_one(
    queue: QueueNearby, client: PermitClient
):
    (patient,) = await in_line(queue, client, 1)
    with pytest.raises(ParkTimeout):
        await client.acquire(deadline=within(0.05))
    assert not patient.done()
    patient.cancel()


async def test_a_cancelled_request_leaves_the_line(queue: QueueNearby, client: PermitClient):
    first, second = await in_line(queue, client, 2)
    first.cancel()
    await queue.until_waiting(1)
    await queue.start()
    assert (await second).replica_id == "r1"
    assert first.cancelled()


async def test_one_cancelled_at_the_moment_of_its_grant_passes_the_permit_on(
    queue: QueueNearby, client: PermitClient
):
    await queue.start()
    permit = await client.acquire(deadline=within())
    first, second = await in_line(queue, client, 2)
    # Hands the permit to the first; its task has not run yet when it is cancelled.
    client.release(permit)
    first.cancel()
    assert (await second).slot is permit.slot
    assert first.cancelled()


async def test_and_keeps_it_for_a_while_where_nobody_else_waits(queue: QueueNearby):
    async with client_of(queue, keep_s=0.05) as client:
        await queue.start()
        permit = await client.acquire(deadline=within())
        (only,) = await in_line(queue, client, 1)
        client.release(permit)
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        await queue.until(lambda described: described["replicas"][0]["permits"] == 0)


# Being refused


async def test_a_full_line_refuses_at_once(queue: QueueNearby):
    async with client_of(queue, max_requests=2) as client:
        waiting = await in_line(queue, client, 2)
        with pytest.raises(QueueFull) as caught:
            await client.acquire(deadline=within())
        assert caught.value.retry_after_s == 1.0
        assert not any(request.done() for request in waiting)
        for request in waiting:
            request.cancel()


async def test_an_environment_that_does_not_queue_refuses_without_waiting(queue: QueueNearby):
    async with client_of(queue, policy="reject_on_full") as client:
        with pytest.raises(NoFreeSlot):
            await client.acquire(deadline=within())
        await queue.start()
        permit = await client.acquire(deadline=within())
        with pytest.raises(NoFreeSlot):
            await client.acquire(deadline=within())
        client.release(permit)
        await client.acquire(deadline=within())


async def test_settings_can_change_while_requests_wait(queue: QueueNearby, client: PermitClient):
    waiting = await in_line(queue, client, 1)
    client.reconfigure({"max_requests": 1})
    with pytest.raises(QueueFull):
        await client.acquire(deadline=within())
    await queue.start()
    await waiting[0]


async def test_an_unhealthy_environment_says_why_to_those_who_wait_and_to_newcomers(
    queue: QueueNearby, client: PermitClient
):
    waiting = await in_line(queue, client, 2)
    await queue.report("r1", Stage.FAILED, reason="no memory", log_tail=("killed",))
    for request in waiting:
        with pytest.raises(EnvironmentUnhealthy) as caught:
            await request
        assert (caught.value.reason, caught.value.log_tail) == ("no memory", ("killed",))
    with pytest.raises(EnvironmentUnhealthy):
        await client.acquire(deadline=within())


# The queue goes away


async def test_a_queue_that_restarts_loses_nobody_and_keeps_the_order(
    queue: QueueNearby, client: PermitClient, quick_backoff: None
):
    requests = await in_line(queue, client, 3)
    queue.up = False
    await queue.tell()
    last = asking(client)
    queue.start_anew()
    queue.up = True
    await queue.until_waiting(4)
    await queue.start()
    for request in [*requests, last]:
        client.release(await request)


async def test_requests_that_run_go_on_while_the_queue_is_away(
    queue: QueueNearby, client: PermitClient, quick_backoff: None
):
    await queue.start()
    permit = await client.acquire(deadline=within())
    waiting = await in_line(queue, client, 1)
    queue.up = False
    await queue.tell()
    client.release(permit)
    handed_over = await waiting[0]
    assert handed_over.slot is permit.slot
    client.release(handed_over)
    kept = client.try_acquire()
    assert kept is not None


async def test_a_new_queue_hears_what_is_held(
    queue: QueueNearby, client: PermitClient, quick_backoff: None
):
    await queue.start()
    await client.acquire(deadline=within())
    queue.start_anew()
    await queue.start()
    await queue.until(lambda d: d["holders"] == 1 and d["replicas"][0]["permits"] == 1)


async def test_a_grant_whose_reply_was_lost_arrives_with_the_next(
    queue: QueueNearby, client: PermitClient, quick_backoff: None, monkeypatch: pytest.MonkeyPatch
):
    await queue.start()
    real, lost = queue.core.exchange, asyncio.Event()

    def losing(message: Exchange, now: float) -> Reply:
        reply = real(message, now)
        if reply.grants and not lost.is_set():
            lost.set()
            raise QueueUnavailable("the answer was lost")
        return reply

    monkeypatch.setattr(queue.core, "exchange", losing)
    permit = await client.acquire(deadline=within())
    assert lost.is_set()
    assert permit.replica_id == "r1"
    assert queue.core._out("r1") == 1


async def test_a_queue_that_fails_oddly_does_not_end_the_client(
    queue: QueueNearby,
    client: PermitClient,
    quick_backoff: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    await queue.start()
    real, failed = queue.core.exchange, asyncio.Event()

    def failing(message: Exchange, now: float) -> Reply:
        if message.waiting and not failed.is_set():
            failed.set()
            raise RuntimeError("odd")
        return real(message, now)

    monkeypatch.setattr(queue.core, "exchange", failing)
    await client.acquire(deadline=within())
    assert failed.is_set()
    assert "an exchange with the queue of m.production failed" in caplog.text


async def test_waking_and_describing_say_that_the_queue_is_away(
    queue: QueueNearby, client: PermitClient
):
    await client.wake()
    assert queue.woken == 1
    assert (await client.describe())["status"] == "SCALED_TO_ZERO"
    queue.up = False
    with pytest.raises(QueueUnavailable):
        await client.wake()
    with pytest.raises(QueueUnavailable):
        await client.describe()


# Resting and ending


async def test_an_idle_client_makes_no_calls(queue: QueueNearby):
    async with client_of(queue, keep_s=0.02) as client:
        await queue.start()
        client.release(await client.acquire(deadline=within()))
        await queue.until(lambda described: described["replicas"][0]["permits"] == 0)
        # Nothing is under way but the watch, which ends when it is told something.
        await queue.report("r1", Stage.DRAINING)
        async with asyncio.timeout(5):
            while client._awake.is_set():  # noqa: ASYNC110 - nobody is told of a cleared event
                await asyncio.sleep(0)
        assert client._holder.idle
        assert client._timer is None
        calls = queue.calls
        await queue.report("r1", Stage.STOPPED)
        assert queue.calls <= calls + 1, "the watch that was open may be opened once more"
        await queue.start("r2")
        assert (await client.acquire(deadline=within())).replica_id == "r2"


async def test_closing_turns_away_those_who_wait_and_later_ones(queue: QueueNearby):
    async with client_of(queue) as client:
        (waiting,) = await in_line(queue, client, 1)
    with pytest.raises(Draining, match=r"m\.production is shutting down"):
        await waiting
    with pytest.raises(Draining):
        await client.acquire(deadline=within())
    assert queue.core.describe(time.monotonic())["waiting"] == 0


async def test_closing_gives_back_what_is_kept_and_leaves_what_runs(queue: QueueNearby):
    async with client_of(queue) as client:
        await queue.start(slots=2)
        running = await client.acquire(deadline=within())
        client.release(await client.acquire(deadline=within()))
    assert queue.core._out("r1") == 1
    client.release(running)
    assert client._timer is None


async def test_closing_does_not_wait_for_a_queue_that_is_away(queue: QueueNearby):
    async with client_of(queue) as client:
        await queue.start()
        client.release(await client.acquire(deadline=within()))
        queue.up = False
    await client.close()
