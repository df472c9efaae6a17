"""How long things live: nothing for ever, nothing too short, and then no trace is left."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules
from orchestrator.store import Retention
from tests.unit.store.consistency import problems
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World, attempt, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.store import Store
    from tests.unit.store.servers import Server

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def lives_s(server: Server, request_id: str) -> float:
    """Seconds until the record of a request is gone."""
    left: int = server.client.pttl(f"orch:{{{request_id[:12]}}}:request:{request_id}")
    return left / 1000


async def test_an_open_request_outlives_its_longest_possible_life(world: World, server: Server):
    rules = AttemptRules(max_attempts=10, max_delay_s=60.0)
    request_id = await world.submit(max_queue_s=259_200.0, rules=rules)
    longest_s = 259_200.0 + 10 * (HOUR_S + 60.0)

    for _ in range(3):
        assert lives_s(server, request_id) > longest_s + 6 * DAY_S
        claim = await world.claim()
        assert lives_s(server, request_id) > longest_s + 6 * DAY_S
        await world.requests.put_back(request_id, claim.attempt, None, 0.0)


async def test_every_step_lets_a_request_and_its_indexes_live_on(world: World, server: Server):
    steps: list[tuple[str, float]] = []

    def weeks_pass() -> None:
        for name in server.client.scan_iter():
            server.client.pexpire(name, min(server.client.pttl(name), 1_000_000))

    def took(step: str) -> None:
        steps.append((step, lives_s(server, request_id)))
        assert problems(server.client) == [], step
        weeks_pass()

    request_id = await world.submit(webhook=WEBHOOK, key="abcd", max_queue_s=DAY_S)
    took("submit")
    claim = await world.claim()
    took("claim")
    await world.requests.put_back(request_id, claim.attempt, None, 0.0)
    took("give back")
    claim = await world.claim()
    took("claim")
    await world.requests.put_back(request_id, claim.attempt, BAD, 0.001)
    took("pause")
    await until(lambda: world.requests.look(world.tag, 0), lambda backlog: backlog.ready)
    weeks_pass()
    await world.claim(lease_s=0.0)
    took("claim")
    await world.sweep()
    took("lose the lease")
    assert all(left_s > 8 * DAY_S for _, left_s in steps), steps

    steps.clear()
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, None, 0.0)
    claim = await world.claim()
    await world.requests.succeed(request_id, claim.attempt, RESULT)
    took("succeed")
    delivery = await world.delivery()
    await world.deliveries.defer(request_id, delivery.attempt, 0.0)
    took("defer")
    delivery = await world.delivery()
    await world.deliveries.retry(request_id, delivery.attempt, attempt(delivery), 0.0)
    took("retry")
    delivery = await world.delivery()
    await world.deliveries.give_up(request_id, delivery.attempt, attempt(delivery), "gone")
    took("give up")
    await world.deliveries.replay(request_id)
    took("replay")
    assert all(left_s > 3 * DAY_S - HOUR_S for _, left_s in steps), steps


async def test_a_result_is_kept_as_long_as_the_retention_says(
    open_store: Callable[[Retention], Store], server: Server
):
    world = World(open_store(Retention(result_s=1000.0)))

    request_id = await world.succeeded()

    assert 990 < lives_s(server, request_id) <= 1000
    assert (await world.record(request_id)).result == RESULT


async def test_a_request_whose_webhook_is_pending_is_kept_three_days_longer(
    world: World, server: Server
):
    request_id = await world.succeeded(webhook=WEBHOOK)
    assert lives_s(server, request_id) > 4 * DAY_S - 60

    delivery = await world.delivery()
    await world.deliveries.delivered(request_id, delivery.attempt, attempt(delivery))

    assert DAY_S - 60 < lives_s(server, request_id) <= DAY_S


async def test_a_webhook_that_is_due_late_keeps_its_request_until_after_that(
    world: World, server: Server
):
    request_id = await world.succeeded(webhook=WEBHOOK)
    delivery = await world.delivery()

    await world.deliveries.retry(request_id, delivery.attempt, attempt(delivery), 10.0 * DAY_S)

    assert lives_s(server, request_id) > 12 * DAY_S


async def test_a_dead_letter_is_kept_as_long_as_the_retention_says(
    open_store: Callable[[Retention], Store], server: Server
):
    retention = Retention(result_s=1000.0, dead_letter_s=100 * DAY_S)
    world = World(open_store(retention))

    request_id = await world.dead_letter()
    assert lives_s(server, request_id) > 99 * DAY_S
    await world.deliveries.drop(request_id)

    assert lives_s(server, request_id) <= 1000


async def test_of_what_was_kept_long_enough_no_trace_is_left(
    open_store: Callable[[Retention], Store], server: Server
):
    world = World(open_store(Retention(result_s=0.05, dead_letter_s=0.05)))
    ids = [await world.succeeded()]
    ids.append(await world.dead_letter())
    ids.append(await world.submit())
    await world.requests.cancel(ids[-1])

    async def left() -> list[bytes]:
        await world.sweep()
        return list(server.client.scan_iter())

    # The dead letter was kept three days while its webhook was pending; that is shortened.
    for request_id in ids:
        await until(partial(world.requests.get, request_id), lambda found: found is None)
        assert await world.requests.cancel(request_id) is None
    await until(left, lambda names: not names)
    assert (await world.requests.list(world.tag, limit=10)).records == []


async def test_much_that_was_kept_long_enough_is_forgotten_in_several_looks(
    open_store: Callable[[Retention], Store], server: Server
):
    world = World(open_store(Retention(result_s=0.001)))
    await asyncio.gather(*(world.submit() for _ in range(450)))
    for claim in await world.requests.claim(world.tag, 450, LONG_S):
        await world.requests.fail(claim.request_id, claim.attempt, BAD)

    looks = [await world.requests.look(world.tag, 0)]
    while looks[-1].next_s == 0:
        looks.append(await world.requests.look(world.tag, 0))

    assert len(looks) == 3
    assert server.client.dbsize() == 0


@pytest.mark.parametrize("where", ["queued", "paused", "running"])
async def test_a_look_forgets_what_vanished(world: World, server: Server, where: str):
    request_id = await world.submit(key="abcd", max_queue_s=0.0 if where == "queued" else 60.0)
    if where != "queued":
        claim = await world.claim(lease_s=0.0)
    if where == "paused":
        await world.requests.put_back(request_id, claim.attempt, BAD, 0.001)
    server.client.delete(f"orch:{{{world.tag}}}:request:{request_id}")

    async def left() -> int:
        await world.sweep()
        return int(server.client.dbsize())

    await until(left, lambda count: count == 0)


async def test_a_webhook_that_is_pending_keeps_a_result_beyond_a_short_retention(
    open_store: Callable[[Retention], Store],
):
    world = World(open_store(Retention(result_s=0.01)))
    request_id = await world.succeeded(webhook=WEBHOOK)
    short = await world.succeeded()
    await until(lambda: world.requests.get(short), lambda found: found is None)

    delivery = await world.delivery()

    assert delivery.record.request_id == request_id
    assert delivery.record.result == RESULT


async def test_what_vanished_before_its_end_is_forgotten_and_counted_no_more(
    world: World, server: Server
):
    request_id = await world.submit(key="abcd")
    gone = await world.submit(key="abcd")
    running = await world.submit(key="abcd")
    for name in (gone, running):
        server.client.delete(f"orch:{{{world.tag}}}:request:{name}")

    assert (await world.claim()).request_id == request_id
    assert await world.requests.claim(world.tag, 5, LONG_S) == []
    assert await world.requests.succeed(request_id, 1, RESULT)

    record = await world.record(request_id)
    assert record.state is AsyncState.SUCCEEDED
    base = f"orch:{{{world.tag}}}:"
    # The last open request that is forgotten takes the counters with it.
    lost = await world.submit(key="abcd")
    server.client.delete(f"{base}request:{lost}")
    assert await world.requests.claim(world.tag, 1, LONG_S) == []
    assert not server.client.exists(f"{base}open")
