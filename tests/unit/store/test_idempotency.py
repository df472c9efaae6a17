"""The same idempotency key gives the same request, or a conflict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.errors import AsyncQueueFull, IdempotencyConflict
from orchestrator.store.records import Bounds, Depth

if TYPE_CHECKING:
    from tests.unit.store.servers import Server
    from tests.unit.store.world import World

KEY = ("hash of the key", "hash of the body")


async def test_the_same_key_and_body_give_the_same_request(world: World):
    first = await world.requests.submit(world.submission(idempotency=KEY))
    second = await world.requests.submit(world.submission(idempotency=KEY))

    assert first.created
    assert (second.request_id, second.created) == (first.request_id, False)
    assert await world.requests.depth(world.tag) == Depth(queued=1, in_progress=0)


async def test_the_same_key_with_another_body_is_a_conflict(world: World):
    await world.submit(idempotency=KEY)

    with pytest.raises(IdempotencyConflict):
        await world.submit(idempotency=(KEY[0], "hash of another body"))

    assert await world.requests.depth(world.tag) == Depth(queued=1, in_progress=0)


async def test_the_key_stands_for_its_request_also_after_that_has_ended(world: World):
    request_id = await world.succeeded(idempotency=KEY)

    again = await world.requests.submit(world.submission(idempotency=KEY))

    assert (again.request_id, again.created) == (request_id, False)


async def test_the_key_is_kept_for_a_day(world: World, server: Server):
    await world.submit(idempotency=KEY)

    left = server.client.ttl(f"orch:{{{world.tag}}}:idempotency:{KEY[0]}")

    assert 86_000 < left <= 86_400


async def test_of_many_at_the_same_time_one_is_new(world: World):
    answers = await asyncio.gather(
        *(world.requests.submit(world.submission(idempotency=KEY)) for _ in range(50))
    )

    assert sum(answer.created for answer in answers) == 1
    assert len({answer.request_id for answer in answers}) == 1


async def test_a_refused_submission_leaves_its_key_free(world: World):
    full = Bounds(max_requests=0)
    with pytest.raises(AsyncQueueFull):
        await world.submit(idempotency=KEY, bounds=full)

    assert await world.submit(idempotency=(KEY[0], "hash of another body"))


async def test_a_full_queue_still_finds_the_earlier_request(world: World):
    bounds = Bounds(max_requests=1)
    request_id = await world.submit(idempotency=KEY, bounds=bounds)

    again = await world.requests.submit(world.submission(idempotency=KEY, bounds=bounds))

    assert again.request_id == request_id
