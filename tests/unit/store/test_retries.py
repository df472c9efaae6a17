"""A failed attempt is followed by another, after a pause, up to the request's limit."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, ErrorCode
from orchestrator.store.records import Backlog, Depth, Error
from tests.unit.store.world import BAD, LONG_S, RESULT, World, until

THREE = AttemptRules(max_attempts=3, initial_delay_s=1.0, max_delay_s=60.0)


async def test_a_request_put_back_is_queued_with_its_error_and_its_attempt_counted(world: World):
    request_id = await world.submit()
    claim = await world.claim()

    assert await world.requests.put_back(request_id, claim.attempt, BAD, 0.0)

    record = await world.record(request_id)
    assert (record.state, record.attempts, record.error) == (AsyncState.QUEUED, 1, BAD)
    assert record.status_at > record.created_at


async def test_a_pause_is_waited_out_and_holds_no_lease(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, BAD, 0.2)

    backlog = await world.requests.look(world.tag, 5)

    assert (backlog.ready, backlog.first) == (0, ())
    assert await world.requests.depth(world.tag) == Depth(queued=1, in_progress=0)
    assert await world.requests.claim(world.tag, 1, LONG_S) == []
    assert backlog.next_s is not None
    assert 0 < backlog.next_s <= 0.2

    async def look() -> Backlog:
        return await world.requests.look(world.tag, 5)

    assert len((await until(look, lambda seen: seen.ready)).first) == 1
    assert (await world.claim()).request_id == request_id


@pytest.mark.parametrize("pause_s", [0.0, 0.0000004, 0.0012345, 1 / 3, 259_200.0])
async def test_a_pause_may_be_any_time(world: World, pause_s: float):
    request_id = await world.submit(max_queue_s=1 / 3)
    claim = await world.claim(lease_s=1 / 3)

    assert await world.requests.put_back(request_id, claim.attempt, BAD, pause_s)


async def test_put_back_after_its_last_attempt_it_has_failed(world: World):
    request_id = await world.submit(rules=AttemptRules(max_attempts=2))
    for _ in range(2):
        claim = await world.claim()
        assert await world.requests.put_back(request_id, claim.attempt, BAD, 0.0)

    record = await world.record(request_id)

    assert (record.state, record.attempts, record.error) == (AsyncState.FAILED, 2, BAD)


async def test_the_error_of_an_earlier_attempt_stays_beside_the_result(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, BAD, 0.0)
    claim = await world.claim()
    await world.requests.succeed(request_id, claim.attempt, RESULT)

    record = await world.record(request_id)

    assert (record.state, record.attempts) == (AsyncState.SUCCEEDED, 2)
    assert (record.error, record.result) == (BAD, RESULT)


async def test_an_attempt_that_did_not_run_is_not_counted(world: World):
    request_id = await world.submit(rules=THREE)
    for _ in range(10):
        claim = await world.claim()
        assert await world.requests.put_back(request_id, claim.attempt, None, 0.0)
        assert (await world.record(request_id)).attempts == 0

    record = await world.record(request_id)
    assert (record.state, record.error) == (AsyncState.QUEUED, None)


async def test_the_rules_of_a_claim_allow_for_attempts_that_did_not_run(world: World):
    request_id = await world.submit(rules=THREE)
    code = ErrorCode.MODEL_PREDICT_ERROR
    for _ in range(5):
        claim = await world.claim()
        await world.requests.put_back(request_id, claim.attempt, None, 0.0)

    for failed in range(1, 4):
        claim = await world.claim()
        assert claim.rules.again(claim.attempt, code) == THREE.again(failed, code)
        assert claim.rules.pause_s(claim.attempt) == THREE.pause_s(failed)
        await world.requests.put_back(request_id, claim.attempt, BAD, 0.0)

    assert (await world.record(request_id)).state is AsyncState.FAILED


async def test_any_code_and_any_message_come_back_as_they_were(world: World):
    for code in ErrorCode:
        error = Error(code, f"déjà vu: {code}\n\x00")
        request_id = await world.submit()
        claim = await world.claim()
        assert await world.requests.fail(request_id, claim.attempt, error)
        assert (await world.record(request_id)).error == error


async def test_a_message_that_is_no_unicode_is_kept_as_far_as_it_is(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    error = Error(ErrorCode.MODEL_PREDICT_ERROR, "half of a pair: \ud83d")

    assert await world.requests.fail(request_id, claim.attempt, error)

    kept = (await world.record(request_id)).error
    assert kept is not None
    assert kept.message == "half of a pair: ?"


@pytest.mark.parametrize("step", ["succeed", "fail"])
async def test_an_end_that_is_told_twice_is_told_once(world: World, step: str):
    request_id = await world.submit()
    claim = await world.claim()

    async def end() -> bool:
        if step == "succeed":
            return await world.requests.succeed(request_id, claim.attempt, RESULT)
        return await world.requests.fail(request_id, claim.attempt, BAD)

    assert await end()
    before = await world.record(request_id)
    assert await end()
    assert await world.record(request_id) == before
