"""Whoever waits for a request no longer may cancel it, at any moment before its end."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.async_request import AsyncState, WebhookStatus
from orchestrator.store.records import Backlog
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World


async def test_a_queued_request_is_canceled_and_never_claimed(world: World):
    request_id = await world.submit()

    assert await world.requests.cancel(request_id) == (True, AsyncState.CANCELED)

    assert (await world.record(request_id)).state is AsyncState.CANCELED
    assert await world.requests.claim(world.tag, 1, LONG_S) == []


async def test_a_paused_request_is_canceled(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, BAD, LONG_S)

    assert await world.requests.cancel(request_id) == (True, AsyncState.CANCELED)

    assert await world.requests.look(world.tag, 5) == Backlog(ready=0)


@pytest.mark.parametrize("step", ["succeed", "fail", "put back", "renew"])
async def test_what_a_running_request_comes_to_after_it_was_canceled_is_dropped(
    world: World, step: str
):
    request_id = await world.submit()
    attempt = (await world.claim()).attempt
    assert await world.requests.cancel(request_id) == (True, AsyncState.CANCELED)
    before = await world.record(request_id)

    requests = world.requests
    match step:
        case "succeed":
            assert not await requests.succeed(request_id, attempt, RESULT)
        case "fail":
            assert not await requests.fail(request_id, attempt, BAD)
        case "put back":
            assert not await requests.put_back(request_id, attempt, BAD, 0.0)
        case _:
            held = [(request_id, attempt)]
            assert await requests.renew(world.tag, held, LONG_S) == [request_id]

    assert await world.record(request_id) == before


async def test_the_webhook_of_a_canceled_request_is_canceled(world: World):
    request_id = await world.submit(webhook=WEBHOOK)

    await world.requests.cancel(request_id)

    assert (await world.record(request_id)).webhook_status is WebhookStatus.CANCELED
    assert await world.deliveries.claim(world.tag, 1, LONG_S) == []


async def test_a_canceled_request_without_a_webhook_says_so(world: World):
    request_id = await world.submit()

    await world.requests.cancel(request_id)

    assert (await world.record(request_id)).webhook_status is WebhookStatus.NOT_PROVIDED


async def test_canceling_twice_says_that_it_was_canceled_before(world: World):
    request_id = await world.submit()
    await world.requests.cancel(request_id)

    assert await world.requests.cancel(request_id) == (False, AsyncState.CANCELED)


async def test_what_has_ended_is_not_canceled(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    before = await world.record(request_id)

    assert await world.requests.cancel(request_id) == (False, AsyncState.SUCCEEDED)

    assert await world.record(request_id) == before
