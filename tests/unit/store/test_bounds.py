"""Open requests are bounded: in number, in bytes, and for each API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.errors import AsyncQueueFull
from orchestrator.store.records import Bounds, Depth
from tests.unit.store.world import BAD, RESULT, World

if TYPE_CHECKING:
    from tests.unit.store.servers import Server


async def test_the_number_of_open_requests_is_bounded(world: World):
    bounds = Bounds(max_requests=2)
    await world.submit(bounds=bounds)
    await world.submit(bounds=bounds)

    with pytest.raises(AsyncQueueFull) as refused:
        await world.submit(bounds=bounds)

    assert refused.value.bound == "2 open requests"
    assert refused.value.retry_after_s > 0
    assert await world.requests.depth(world.tag) == Depth(queued=2, in_progress=0)


async def test_their_bytes_are_bounded(world: World):
    bounds = Bounds(max_bytes=100)
    await world.submit(input=b"x" * 60, bounds=bounds)

    with pytest.raises(AsyncQueueFull) as refused:
        await world.submit(input=b"x" * 41, bounds=bounds)

    assert refused.value.bound == "100 bytes of open requests"
    await world.submit(input=b"x" * 40, bounds=bounds)


async def test_those_of_one_api_key_are_bounded_and_others_go_on(world: World):
    bounds = Bounds(max_requests_per_key=1)
    await world.submit(key="aaaa", bounds=bounds)

    with pytest.raises(AsyncQueueFull) as refused:
        await world.submit(key="aaaa", bounds=bounds)

    assert refused.value.bound == "1 open requests per API key"
    await world.submit(key="bbbb", bounds=bounds)
    await world.submit(bounds=bounds)


async def test_no_bound_per_api_key_is_no_bound(world: World):
    for _ in range(5):
        await world.submit(key="aaaa", bounds=Bounds(max_requests_per_key=None))


async def test_a_refused_submission_leaves_nothing(world: World, server: Server):
    with pytest.raises(AsyncQueueFull):
        await world.submit(bounds=Bounds(max_requests=0), key="aaaa", idempotency=("k", "b"))

    assert server.client.dbsize() == 0


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "cancel running", "expire"])
async def test_whatever_ends_a_request_makes_room_for_another(
    world: World, server: Server, end: str
):
    bounds = Bounds(max_requests=1, max_bytes=100, max_requests_per_key=1)
    stay = 0.0 if end == "expire" else 60.0
    request_id = await world.submit(key="aaaa", bounds=bounds, max_queue_s=stay)
    match end:
        case "succeed":
            claim = await world.claim()
            await world.requests.succeed(request_id, claim.attempt, RESULT)
        case "fail":
            claim = await world.claim()
            await world.requests.fail(request_id, claim.attempt, BAD)
        case "cancel":
            await world.requests.cancel(request_id)
        case "cancel running":
            await world.claim()
            await world.requests.cancel(request_id)
        case "expire":
            await world.sweep()

    assert not server.client.exists(f"orch:{{{world.tag}}}:open")
    await world.submit(key="aaaa", bounds=bounds)


async def test_what_runs_and_what_was_put_back_count_on(world: World):
    bounds = Bounds(max_requests=2)
    for _ in range(2):
        await world.submit(bounds=bounds)
    claim = await world.claim()
    await world.claim()
    await world.requests.put_back(claim.request_id, claim.attempt, BAD, 60.0)

    with pytest.raises(AsyncQueueFull):
        await world.submit(bounds=bounds)
