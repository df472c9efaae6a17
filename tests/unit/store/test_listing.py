"""Listing an environment's requests: newest first, in pages, by state."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.async_request import AsyncState
from orchestrator.store.records import Page
from tests.unit.store.world import BAD, World


async def pages(world: World, limit: int, status: AsyncState | None = None) -> list[list[str]]:
    """The ids of all pages."""
    found: list[list[str]] = []
    cursor = None
    while True:
        page = await world.requests.list(world.tag, status=status, cursor=cursor, limit=limit)
        found.append([record.request_id for record in page.records])
        cursor = page.cursor
        if cursor is None:
            return found


async def some_of_each(world: World) -> dict[str, AsyncState]:
    """Twelve requests, two in each state, oldest first."""
    for _ in range(2):
        await world.succeeded()
        claimed = await world.submit()
        await world.requests.fail(claimed, (await world.claim()).attempt, BAD)
        await world.requests.cancel(await world.submit())
        await world.submit(max_queue_s=0.0)
        await world.sweep()
        await world.submit()
        await world.claim()
    for _ in range(2):
        await world.submit()
    page = await world.requests.list(world.tag, limit=100)
    return {record.request_id: record.state for record in reversed(page.records)}


@pytest.mark.parametrize("limit", [-1, 0, 10**9])
async def test_any_limit_is_a_sensible_one(world: World, limit: int):
    ids = [await world.submit() for _ in range(2)]

    page = await world.requests.list(world.tag, limit=limit)

    assert [record.request_id for record in page.records][:1] == ids[-1:]
    assert await world.deliveries.dead_letters(world.tag, limit=limit) == ([], None)


async def test_an_empty_environment_has_an_empty_list(world: World):
    assert await world.requests.list(world.tag, limit=10) == Page([], None)


async def test_all_are_listed_newest_first_whatever_their_state(world: World):
    requests = await some_of_each(world)

    assert sorted(requests.values()) == sorted([*AsyncState] * 2)
    moments = [(await world.record(name)).created_at for name in requests]
    assert moments == sorted(moments)


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13])
async def test_pages_together_are_the_whole_list(world: World, limit: int):
    requests = await some_of_each(world)

    parts = await pages(world, limit)

    assert [name for part in parts for name in part] == [*reversed(requests)]
    assert all(len(part) <= limit for part in parts)


@pytest.mark.parametrize("state", AsyncState)
async def test_a_list_of_one_state_has_those_and_no_others(world: World, state: AsyncState):
    requests = await some_of_each(world)

    listed = [name for part in await pages(world, 1, state) for name in part]

    assert listed == [name for name in reversed(requests) if requests[name] is state]


async def test_what_comes_while_somebody_pages_moves_nothing(world: World):
    ids = [await world.submit() for _ in range(4)]
    first = await world.requests.list(world.tag, limit=2)
    await world.submit()
    await world.claim()

    second = await world.requests.list(world.tag, cursor=first.cursor, limit=2)

    listed = [record.request_id for record in first.records + second.records]
    assert listed == [*reversed(ids)]


async def test_records_of_a_list_have_no_result_and_else_are_whole(world: World):
    request_id = await world.succeeded(priority=1)

    (listed,) = (await world.requests.list(world.tag, limit=1)).records

    whole = await world.record(request_id)
    assert listed.result is not None
    assert whole.result is not None
    assert (listed.result.data, listed.result.size) == (None, whole.result.size)
    assert (listed.request_id, listed.state) == (request_id, AsyncState.SUCCEEDED)
    assert (listed.priority, listed.created_at) == (1, whole.created_at)


async def test_places_in_the_queue_are_told(world: World):
    for _ in range(3):
        await world.submit()

    listed = (await world.requests.list(world.tag, limit=10)).records

    assert [record.queue_position for record in listed] == [2, 1, 0]


@pytest.mark.parametrize("cursor", ["", "nonsense", "-1", "(1", "+inf", "1 2", "\u0663"])
async def test_what_is_no_cursor_is_the_beginning(world: World, cursor: str):
    request_id = await world.submit()

    page = await world.requests.list(world.tag, cursor=cursor, limit=10)

    assert [record.request_id for record in page.records] == [request_id]
