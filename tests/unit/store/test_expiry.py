"""Each stay in the queue is bounded, and what outstays it expires when that is due."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.lifecycle.async_request import AsyncState, ErrorCode, WebhookStatus
from orchestrator.store.records import Backlog, Depth, Error
from tests.unit.store.world import BAD, LONG_S, WEBHOOK, World, until


async def test_what_waits_too_long_expires_and_says_why(world: World):
    request_id = await world.submit(max_queue_s=0.0, webhook=WEBHOOK)

    await world.sweep()

    record = await world.record(request_id)
    assert record.state is AsyncState.EXPIRED
    assert record.error == Error(ErrorCode.MODEL_NOT_READY, "no replica had room within 0 s")
    assert (record.result, record.webhook_status) == (None, WebhookStatus.PENDING)
    assert await world.requests.depth(world.tag) == Depth(queued=0, in_progress=0)


async def test_it_is_not_claimed_any_more_though_nobody_looked(world: World):
    request_id = await world.submit(max_queue_s=0.0)
    behind = await world.submit()

    assert (await world.claim()).request_id == behind

    assert (await world.record(request_id)).state is AsyncState.EXPIRED


async def test_a_look_tells_when_the_next_will_expire(world: World):
    await world.submit(max_queue_s=3.0)
    await world.submit(max_queue_s=600.0)
    assert (await world.requests.claim(world.tag, 1, 2.0)) != []

    backlog = await world.requests.look(world.tag, 0)

    assert backlog.next_s is not None
    assert 0 < backlog.next_s <= 2.0


@pytest.mark.parametrize("work", ["queued", "running", "webhook due"])
async def test_while_there_is_work_others_may_begin_it_so_a_look_comes_soon(
    world: World, work: str
):
    if work == "webhook due":
        await world.succeeded(webhook=WEBHOOK)
    else:
        await world.submit(max_queue_s=600.0)
    if work == "running":
        await world.claim(lease_s=600.0)

    assert (await world.requests.look(world.tag, 0)).next_s == 5.0


async def test_one_who_looks_when_told_to_expires_it_in_time(world: World):
    request_id = await world.submit(max_queue_s=0.2)

    async def look_in_time() -> AsyncState:
        backlog = await world.requests.look(world.tag, 0)
        await asyncio.sleep(backlog.next_s or 0.0)
        return (await world.record(request_id)).state

    await until(look_in_time, lambda state: state is AsyncState.EXPIRED)
    record = await world.record(request_id)
    assert 0.2 <= record.status_at - record.created_at < 5.0


async def test_what_runs_does_not_expire(world: World):
    request_id = await world.submit(max_queue_s=0.1)
    await world.claim()

    async def stay_is_over() -> float:
        record = await world.record(request_id)
        return (await world.record(await world.submit())).created_at - record.created_at

    await until(stay_is_over, lambda passed: passed > 0.1)
    await world.sweep()

    assert (await world.record(request_id)).state is AsyncState.IN_PROGRESS


async def test_a_failed_attempt_begins_a_new_stay_after_its_pause(world: World):
    request_id = await world.submit(max_queue_s=30.0)
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, BAD, 100.0)

    next_s = (await world.requests.look(world.tag, 0)).next_s

    # The pause ends first; the stay of 30 s that follows is planned from there.
    assert next_s is not None
    assert 90.0 < next_s <= 100.0


async def test_an_attempt_that_did_not_run_only_interrupts_the_stay(world: World):
    request_id = await world.submit(max_queue_s=0.3)

    async def take_and_give_back() -> AsyncState:
        for claim in await world.requests.claim(world.tag, 1, LONG_S):
            await world.requests.put_back(request_id, claim.attempt, None, 0.0)
        return (await world.record(request_id)).state

    await until(take_and_give_back, lambda state: state is AsyncState.EXPIRED)
    assert (await world.record(request_id)).attempts == 0


async def test_much_that_is_due_is_dealt_with_in_several_looks(world: World):
    await asyncio.gather(*(world.submit(max_queue_s=0.0) for _ in range(450)))

    looks: list[Backlog] = [await world.requests.look(world.tag, 0)]
    while looks[-1].next_s == 0:
        looks.append(await world.requests.look(world.tag, 0))

    assert len(looks) == 3
    assert looks[-1] == Backlog(ready=0, first=(), deliveries=0, next_s=None)


async def test_a_claim_passes_over_a_bounded_number_of_expired_ones(world: World):
    await asyncio.gather(*(world.submit(max_queue_s=0.0) for _ in range(150)))
    fresh = await world.submit()

    first = await world.requests.claim(world.tag, 1, LONG_S)
    second = await world.requests.claim(world.tag, 1, LONG_S)

    assert first == []
    assert [claim.request_id for claim in second] == [fresh]


async def test_an_idle_environment_plans_nothing(world: World):
    assert await world.requests.look(world.tag, 5) == Backlog(ready=0)

    await world.succeeded()

    assert await world.requests.look(world.tag, 5) == Backlog(ready=0)
