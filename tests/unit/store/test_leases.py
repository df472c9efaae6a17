"""A claim is held by its lease; whoever lost it changes nothing any more."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, ErrorCode
from orchestrator.store.records import Depth, Error
from tests.unit.store.world import BAD, LONG_S, RESULT, World, until


async def test_a_claimed_request_is_in_progress_and_nobody_elses(world: World):
    request_id = await world.submit()
    await world.claim()

    assert (await world.record(request_id)).state is AsyncState.IN_PROGRESS
    assert await world.requests.claim(world.tag, 1, LONG_S) == []
    assert await world.requests.depth(world.tag) == Depth(queued=0, in_progress=1)


async def test_dispatchers_share_the_queue_and_none_gets_what_another_has(world: World):
    ids = {await world.submit() for _ in range(60)}

    shares = await asyncio.gather(*(world.requests.claim(world.tag, 7, LONG_S) for _ in range(10)))

    claimed = [claim.request_id for share in shares for claim in share]
    assert len(claimed) == 60
    assert set(claimed) == ids


async def test_a_lost_lease_queues_the_request_again_with_its_attempt_counted(world: World):
    request_id = await world.submit()
    await world.claim(lease_s=0.0)

    await world.sweep()

    record = await world.record(request_id)
    assert (record.state, record.attempts) == (AsyncState.QUEUED, 1)
    assert record.error == Error(ErrorCode.MODEL_UNAVAILABLE, "the dispatcher that ran it died")
    assert (await world.claim()).attempt == 2


async def test_a_lost_lease_at_the_last_attempt_fails_the_request(world: World):
    request_id = await world.submit(rules=AttemptRules(max_attempts=1))
    await world.claim(lease_s=0.0)

    await world.sweep()

    record = await world.record(request_id)
    assert (record.state, record.attempts) == (AsyncState.FAILED, 1)
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_UNAVAILABLE


async def test_a_lease_that_runs_is_left_alone(world: World):
    request_id = await world.submit()
    await world.claim()

    await world.sweep()

    assert (await world.record(request_id)).state is AsyncState.IN_PROGRESS


async def test_a_lease_that_is_renewed_goes_on(world: World):
    request_id = await world.submit()
    claim = await world.claim(lease_s=0.0)

    assert await world.requests.renew(world.tag, [(request_id, claim.attempt)], LONG_S) == []
    await world.sweep()

    assert (await world.record(request_id)).state is AsyncState.IN_PROGRESS


async def test_renewing_tells_which_leases_are_lost(world: World):
    ids = [await world.submit() for _ in range(4)]
    claims = await world.requests.claim(world.tag, 3, 0.0)
    held = [(claim.request_id, claim.attempt) for claim in claims]
    await world.sweep()
    again = await world.claim()
    assert again.request_id == ids[0]
    await world.requests.cancel(ids[1])
    unknown = (world.submission().request_id, 1)

    lost = await world.requests.renew(world.tag, [*held, unknown], LONG_S)

    assert lost == [*ids[:3], unknown[0]]
    mine = [(again.request_id, again.attempt)]
    assert await world.requests.renew(world.tag, mine, LONG_S) == []


async def test_any_number_of_leases_is_renewed_at_once(world: World):
    for _ in range(600):
        await world.submit()
    claims = await world.requests.claim(world.tag, 600, 0.0)
    held = [(claim.request_id, claim.attempt) for claim in claims]

    assert await world.requests.renew(world.tag, held, LONG_S) == []
    await world.sweep()

    assert await world.requests.depth(world.tag) == Depth(queued=0, in_progress=600)


@pytest.mark.parametrize("step", ["succeed", "fail", "put back", "give back"])
async def test_whoever_lost_its_lease_changes_nothing(world: World, step: str):
    request_id = await world.submit()
    stale = (await world.claim(lease_s=0.0)).attempt
    await world.sweep()
    await world.claim()
    before = await world.record(request_id)

    requests = world.requests
    match step:
        case "succeed":
            changed = await requests.succeed(request_id, stale, RESULT)
        case "fail":
            changed = await requests.fail(request_id, stale, BAD)
        case "put back":
            changed = await requests.put_back(request_id, stale, BAD, 0.0)
        case _:
            changed = await requests.put_back(request_id, stale, None, 0.0)

    assert not changed
    assert await world.record(request_id) == before


async def test_a_result_that_comes_after_the_lease_but_before_anybody_noticed_counts(
    world: World,
):
    request_id = await world.submit()
    claim = await world.claim(lease_s=0.0)

    assert await world.requests.succeed(request_id, claim.attempt, RESULT)
    await world.sweep()

    assert (await world.record(request_id)).state is AsyncState.SUCCEEDED


async def test_a_lost_lease_is_noticed_by_those_who_look_when_they_are_told_to(world: World):
    request_id = await world.submit()
    await world.claim(lease_s=0.2)

    async def look_in_time() -> AsyncState:
        backlog = await world.requests.look(world.tag, 0)
        assert backlog.next_s is not None
        await asyncio.sleep(backlog.next_s)
        await world.requests.look(world.tag, 0)
        return (await world.record(request_id)).state

    await until(look_in_time, lambda state: state is AsyncState.QUEUED)


async def test_an_attempt_that_is_given_back_frees_its_number_for_nobody(world: World):
    request_id = await world.submit(rules=AttemptRules(max_attempts=1))
    first = await world.claim()
    assert await world.requests.put_back(request_id, first.attempt, None, 0.0)
    second = await world.claim()

    # The first dispatcher asks once more, because the answer was lost on its way.
    assert not await world.requests.put_back(request_id, first.attempt, None, 0.0)

    assert (await world.record(request_id)).state is AsyncState.IN_PROGRESS
    assert await world.requests.succeed(request_id, second.attempt, RESULT)
