"""Every event in every state: what the table allows happens, anything else changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.async_request import (
    ASYNC_TRANSITIONS,
    AsyncEvent,
    AsyncState,
    AttemptRules,
)
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World

if TYPE_CHECKING:
    from tests.unit.store.servers import Server

EVERY_PAIR = [(state, event) for state in AsyncState for event in AsyncEvent]
ALLOWED = [(state, event) for state, events in ASYNC_TRANSITIONS.items() for event in events]


async def brought_to(world: World, state: AsyncState) -> tuple[str, int]:
    """A request in this state, and the number of its last attempt."""
    stay_s = 0.0 if state is AsyncState.EXPIRED else LONG_S
    request_id = await world.submit(webhook=WEBHOOK, key="abcd", max_queue_s=stay_s)
    if state in (AsyncState.QUEUED, AsyncState.CANCELED, AsyncState.EXPIRED):
        if state is AsyncState.CANCELED:
            await world.requests.cancel(request_id)
        await world.sweep()
        return request_id, 1
    attempt = (await world.claim()).attempt
    if state is AsyncState.SUCCEEDED:
        assert await world.requests.succeed(request_id, attempt, RESULT)
    if state is AsyncState.FAILED:
        assert await world.requests.fail(request_id, attempt, BAD)
    return request_id, attempt


async def bring_about(
    world: World, server: Server, event: AsyncEvent, request_id: str, attempt: int
) -> None:
    """Lets an event happen, whatever comes of it."""
    match event:
        case AsyncEvent.CLAIM:
            await world.requests.claim(world.tag, 1, LONG_S)
        case AsyncEvent.PUT_BACK:
            await world.requests.put_back(request_id, attempt, BAD, 0.0)
        case AsyncEvent.SUCCEED:
            await world.requests.succeed(request_id, attempt, RESULT)
        case AsyncEvent.FAIL:
            await world.requests.fail(request_id, attempt, BAD)
        case AsyncEvent.CANCEL:
            await world.requests.cancel(request_id)
        case AsyncEvent.EXPIRE:
            # What is in the set of stays has its time out; nothing else may be in there.
            server.client.zadd(f"orch:{{{world.tag}}}:stays", {request_id: 1}, xx=True)
            await world.sweep()


def everything(server: Server) -> dict[bytes, Any]:
    """The value of every key."""
    return {name: server.client.dump(name) for name in server.client.scan_iter()}


async def test_the_states_are_reached(world: World):
    for state in AsyncState:
        other = World(world.store, f"environment-{state.value.lower()}")
        request_id, _ = await brought_to(other, state)
        assert (await other.record(request_id)).state is state


@pytest.mark.parametrize(("state", "event"), EVERY_PAIR)
async def test_every_pair(world: World, server: Server, state: AsyncState, event: AsyncEvent):
    request_id, attempt = await brought_to(world, state)
    before, stored = await world.record(request_id), everything(server)

    await bring_about(world, server, event, request_id, attempt)

    after = await world.record(request_id)
    if (state, event) in ALLOWED:
        assert after.state is ASYNC_TRANSITIONS[state][event]
        assert after.status_at > before.status_at
    else:
        assert after == before
        assert everything(server) == stored


@pytest.mark.parametrize("state", [state for state in AsyncState if state.final])
async def test_nothing_that_anybody_may_still_do_changes_a_final_state(
    world: World, server: Server, state: AsyncState
):
    request_id, attempt = await brought_to(world, state)
    before = await world.record(request_id)

    for event in AsyncEvent:
        for number in range(attempt + 2):
            await bring_about(world, server, event, request_id, number)
    await world.requests.renew(world.tag, [(request_id, attempt)], 0.0)
    await world.sweep()

    assert await world.record(request_id) == before


async def test_a_lost_lease_puts_back_until_the_attempts_are_used_up(world: World):
    request_id = await world.submit(rules=AttemptRules(max_attempts=3))
    seen = []
    for _ in range(3):
        await world.claim(lease_s=0.0)
        await world.sweep()
        seen.append((await world.record(request_id)).state)

    assert seen == [AsyncState.QUEUED, AsyncState.QUEUED, AsyncState.FAILED]
