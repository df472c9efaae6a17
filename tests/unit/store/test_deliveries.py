"""Webhooks: due when the request ends, tried under a lease, until delivered or given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, WebhookStatus
from orchestrator.store.records import Backlog, Delivery, Try
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World, attempt, until

if TYPE_CHECKING:
    from tests.unit.store.servers import Server


@pytest.mark.parametrize("state", [AsyncState.SUCCEEDED, AsyncState.FAILED, AsyncState.EXPIRED])
async def test_the_webhook_of_a_request_that_ended_is_due_with_its_record(
    world: World, state: AsyncState
):
    stay_s = 0.0 if state is AsyncState.EXPIRED else 60.0
    request_id = await world.submit(webhook=WEBHOOK, max_queue_s=stay_s)
    if state is AsyncState.EXPIRED:
        await world.sweep()
    elif state is AsyncState.FAILED:
        await world.requests.fail(request_id, (await world.claim()).attempt, BAD)
    else:
        await world.requests.succeed(request_id, (await world.claim()).attempt, RESULT)

    assert (await world.requests.look(world.tag, 0)).deliveries == 1
    delivery = await world.delivery()

    assert (delivery.request_id, delivery.attempt, delivery.url) == (request_id, 1, WEBHOOK)
    assert delivery.record == await world.record(request_id)
    assert delivery.record.state is state
    assert delivery.record.result == (RESULT if state is AsyncState.SUCCEEDED else None)


async def test_a_lost_lease_at_the_last_attempt_makes_the_webhook_due(world: World):
    await world.submit(webhook=WEBHOOK, rules=AttemptRules(max_attempts=1))
    await world.claim(lease_s=0.0)
    await world.sweep()

    assert (await world.delivery()).record.state is AsyncState.FAILED


async def test_before_the_end_and_without_a_webhook_nothing_is_due(world: World):
    await world.submit(webhook=WEBHOOK)
    await world.claim()
    await world.submit()
    claim = await world.claim()
    await world.requests.succeed(claim.request_id, claim.attempt, RESULT)

    assert await world.deliveries.claim(world.tag, 10, LONG_S) == []


async def test_a_delivered_webhook_is_never_due_again(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    delivery = await world.delivery()

    assert await world.deliveries.delivered(request_id, 1, attempt(delivery))

    assert (await world.record(request_id)).webhook_status is WebhookStatus.SUCCEEDED
    assert await world.requests.look(world.tag, 0) == Backlog(ready=0)


async def test_a_delivery_that_is_told_twice_is_told_once(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    line = attempt(await world.delivery())

    assert await world.deliveries.delivered(request_id, 1, line)
    assert await world.deliveries.delivered(request_id, 1, line)

    assert await world.deliveries.log(request_id) == [line]


async def test_senders_share_what_is_due(world: World):
    for _ in range(30):
        await world.succeeded(webhook=WEBHOOK)

    shares = await asyncio.gather(*(world.deliveries.claim(world.tag, 4, LONG_S) for _ in range(9)))

    claimed = [delivery.request_id for share in shares for delivery in share]
    assert len(claimed) == len(set(claimed)) == 30


async def test_as_many_as_asked_for_are_claimed_longest_due_first(world: World):
    ids = [await world.succeeded(webhook=WEBHOOK) for _ in range(5)]

    shares = [await world.deliveries.claim(world.tag, count, LONG_S) for count in (2, 0, 9, 1)]

    claimed = [[delivery.request_id for delivery in share] for share in shares]
    assert claimed == [ids[:2], [], ids[2:], []]


async def test_a_webhook_whose_request_vanished_is_forgotten(world: World, server: Server):
    request_id = await world.succeeded(webhook=WEBHOOK)
    server.client.delete(f"orch:{{{world.tag}}}:request:{request_id}")

    assert await world.deliveries.claim(world.tag, 1, LONG_S) == []

    assert (await world.requests.look(world.tag, 0)).deliveries == 0
    base = f"orch:{{{world.tag}}}:"
    server.client.delete(f"{base}kept", f"{base}list:SUCCEEDED")  # these would go in a day


async def test_a_failed_try_is_due_again_after_its_pause_as_the_next(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    delivery = await world.delivery()

    line = attempt(delivery, status=503)
    assert await world.deliveries.retry(request_id, delivery.attempt, line, 0.2)
    assert not await world.deliveries.retry(request_id, delivery.attempt, line, 0.2)
    assert await world.deliveries.log(request_id) == [line]
    assert await world.deliveries.claim(world.tag, 1, LONG_S) == []
    planned = (await world.requests.look(world.tag, 0)).next_s
    assert planned is not None
    assert 0 < planned <= 0.2

    async def due() -> list[Delivery]:
        return await world.deliveries.claim(world.tag, 1, LONG_S)

    (again,) = await until(due, lambda found: found)
    assert again.attempt == 2
    assert (await world.record(request_id)).webhook_status is WebhookStatus.PENDING


async def test_a_sender_that_dies_loses_its_lease_and_the_try_is_counted(world: World):
    await world.succeeded(webhook=WEBHOOK)
    first = await world.delivery(lease_s=0.0)
    second = await world.delivery()

    assert (first.attempt, second.attempt) == (1, 2)


@pytest.mark.parametrize("pause_s", [0.0, 0.0000004, 0.0012345, 1 / 3, 259_200.0, 1e7])
async def test_a_pause_may_be_any_time(world: World, pause_s: float):
    first = await world.succeeded(webhook=WEBHOOK)
    delivery = await world.delivery()
    assert await world.deliveries.retry(first, delivery.attempt, attempt(delivery), pause_s)
    second = await world.succeeded(webhook="https://other.example.com")
    (other,) = await world.deliveries.claim(world.tag, 1, LONG_S, ["receiver.example.com"])
    assert await world.deliveries.defer(second, other.attempt, pause_s)


@pytest.mark.parametrize("step", ["delivered", "retry", "give up", "defer"])
async def test_whoever_lost_its_lease_changes_nothing(world: World, step: str):
    request_id = await world.succeeded(webhook=WEBHOOK)
    stale = await world.delivery(lease_s=0.0)
    current = await world.delivery()
    before = await world.record(request_id)

    deliveries, line = world.deliveries, attempt(stale)
    match step:
        case "delivered":
            changed = await deliveries.delivered(request_id, stale.attempt, line)
        case "retry":
            changed = await deliveries.retry(request_id, stale.attempt, line, 0.0)
        case "give up":
            changed = await deliveries.give_up(request_id, stale.attempt, line, "gone")
        case _:
            changed = await deliveries.defer(request_id, stale.attempt, 0.0)

    assert not changed
    assert await world.record(request_id) == before
    assert await deliveries.log(request_id) == []
    assert await deliveries.delivered(request_id, current.attempt, attempt(current))


async def test_a_try_that_is_deferred_is_not_counted(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    for _ in range(3):
        delivery = await world.delivery()
        assert delivery.attempt == 1
        assert await world.deliveries.defer(request_id, delivery.attempt, 0.0)

    assert await world.deliveries.log(request_id) == []
    assert not await world.deliveries.defer(request_id, 1, 0.0)


async def test_receivers_that_are_busy_are_left_out_and_others_are_not(world: World):
    busy = await world.succeeded(webhook="https://BUSY.example.com:8443/hook")
    free = await world.succeeded(webhook="https://free.example.com/hook")

    first = await world.deliveries.claim(world.tag, 10, LONG_S, ["busy.example.com"])
    second = await world.deliveries.claim(world.tag, 10, LONG_S)

    assert [delivery.request_id for delivery in first] == [free]
    assert [(delivery.request_id, delivery.attempt) for delivery in second] == [(busy, 1)]


async def test_a_busy_receiver_with_much_due_does_not_starve_others(world: World):
    await asyncio.gather(*(world.submit(webhook="https://busy.example.com") for _ in range(350)))
    for claim in await world.requests.claim(world.tag, 350, LONG_S):
        await world.requests.fail(claim.request_id, claim.attempt, BAD)
    free = await world.succeeded(webhook="https://free.example.com/hook")

    async def claimed() -> list[str]:
        found = await world.deliveries.claim(world.tag, 1, LONG_S, ["busy.example.com"])
        return [delivery.request_id for delivery in found]

    assert await until(claimed, lambda ids: ids) == [free]


async def test_the_log_has_each_try_and_at_most_the_last_32(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    lines = []
    for number in range(1, 41):
        delivery = await world.delivery()
        lines.append(
            attempt(
                delivery, status=None, seconds=1.5, answer="n\u00f6", error=f"no answer {number}"
            )
        )
        await world.deliveries.retry(request_id, delivery.attempt, lines[-1], 0.0)

    log = await world.deliveries.log(request_id)

    assert log == lines[-32:]
    assert all(isinstance(line, Try) for line in log)


async def test_an_empty_log_is_empty(world: World):
    assert await world.deliveries.log(await world.submit()) == []
