"""Order, expiry, cancelling; slots, and several dispatchers that share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, ErrorCode
from orchestrator.lifecycle.errors import EnvironmentUnhealthy, NoFreeSlot

if TYPE_CHECKING:
    from tests.unit.dispatcher.conftest import Rig

HOUR_S = 3600.0


async def test_it_is_queued_until_a_slot_is_free(rig: Rig):
    rig.replica.gate.clear()
    rig.dispatch()
    first = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    second = await rig.submit({"n": 2})
    await rig.slots.until(lambda: len(rig.slots.line) == 1)
    states = [(await rig.until(each, lambda _: True)).state for each in (first, second)]
    assert states == [AsyncState.IN_PROGRESS, AsyncState.QUEUED]
    rig.replica.gate.set()
    assert (await rig.ended(second)).state is AsyncState.SUCCEEDED
    assert rig.replica.most_running == 1


async def test_demand_is_what_is_ready_but_no_more_than_can_run(rig: Rig):
    rig.slots.free.clear()
    rig.dispatch(slots=2, max_replica=3)
    for n in range(4):
        await rig.submit({"n": n})
    await rig.slots.until(lambda: len(rig.slots.line) == 4)
    ids = [await rig.submit({"n": n}) for n in range(4, 12)]
    await rig.slots.until(lambda: len(rig.slots.line) == 6)
    rig.slots.add(rig.address, 6)
    for each in ids:
        assert (await rig.ended(each)).state is AsyncState.SUCCEEDED
    assert rig.replica.most_running <= 6
    assert not rig.slots.line


async def test_the_best_priority_runs_first_and_stands_in_line_before_others(rig: Rig):
    rig.slots.free.clear()
    rig.dispatch(slots=8)
    for priority in (2, 1, 0):
        await rig.submit({"n": priority}, priority=priority)
    await rig.slots.until(lambda: len(rig.slots.line) == 3)
    assert sorted(waiter.level for waiter in rig.slots.line) == [1, 2, 3]
    rig.slots.add(rig.address)
    await rig.replica.until(lambda: len(rig.replica.seen) == 3)
    assert [body["n"] for body in rig.replica.seen] == [0, 1, 2]


async def test_one_of_a_better_priority_takes_the_place_of_those_in_line(rig: Rig):
    rig.slots.free.clear()
    rig.dispatch(slots=1, max_replica=1)
    await rig.submit({"n": 2}, priority=2)
    await rig.slots.until(lambda: [waiter.level for waiter in rig.slots.line] == [3])
    urgent = await rig.submit({"n": 0}, priority=0)
    await rig.slots.until(lambda: [waiter.level for waiter in rig.slots.line] == [1])
    rig.slots.add(rig.address)
    await rig.ended(urgent)
    assert rig.replica.seen[0] == {"n": 0}


async def test_one_that_waits_too_long_expires_and_leaves_the_line(rig: Rig):
    rig.slots.free.clear()
    rig.dispatch()
    record = await rig.ended(await rig.submit(max_queue_s=0.3))
    assert record.state is AsyncState.EXPIRED
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_NOT_READY
    await rig.slots.until(lambda: not rig.slots.line)
    rig.slots.add(rig.address)
    await rig.ended(await rig.submit({"n": 2}))
    assert rig.replica.seen == [{"n": 2}]


async def test_a_canceled_request_leaves_the_line(rig: Rig):
    rig.slots.free.clear()
    rig.dispatch()
    request_id = await rig.submit()
    await rig.slots.until(lambda: len(rig.slots.line) == 1)
    assert await rig.store.requests.cancel(request_id) == (True, AsyncState.CANCELED)
    await rig.slots.until(lambda: not rig.slots.line)
    rig.slots.add(rig.address)
    await rig.ended(await rig.submit({"n": 2}))
    assert rig.replica.seen == [{"n": 2}]


async def test_canceling_a_running_request_closes_the_replicas_connection(rig: Rig):
    rig.replica.gate.clear()
    rig.dispatch()
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    assert await rig.store.requests.cancel(request_id) == (True, AsyncState.CANCELED)
    await rig.replica.until(lambda: len(rig.replica.gone) == 1)
    await rig.slots.until(lambda: not rig.slots.out)
    record = await rig.store.requests.get(request_id)
    assert record is not None
    assert record.state is AsyncState.CANCELED
    assert record.result is None


async def test_an_unhealthy_environment_keeps_requests_queued(rig: Rig):
    rig.slots.refusal = EnvironmentUnhealthy("no weights", (), 0.2)
    rig.dispatch()
    request_id = await rig.submit()
    await rig.slots.until(lambda: rig.slots.refused > 0)
    record = await rig.store.requests.get(request_id)
    assert record is not None
    assert record.state is AsyncState.QUEUED
    rig.slots.refusal = None
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 1


async def test_it_asks_an_unhealthy_environment_no_sooner_than_told(rig: Rig):
    rig.slots.refusal = EnvironmentUnhealthy("no weights", (), HOUR_S)
    rig.dispatch()
    await rig.submit({"n": 1})
    await rig.slots.until(lambda: rig.slots.refused > 0)
    rig.slots.refusal = None
    record = await rig.ended(await rig.submit({"n": 2}, max_queue_s=0.1))
    assert record.state is AsyncState.EXPIRED
    assert not rig.replica.seen


async def test_where_callers_are_turned_away_accepted_requests_wait_all_the_same(rig: Rig):
    rig.slots.refusal = NoFreeSlot(0.05)
    rig.dispatch(queue={"policy": "reject_on_full", "keep_s": 3.0})
    assert rig.slots.holders[0].settings == {"policy": "queue_on_full", "keep_s": 3.0}
    request_id = await rig.submit()
    await rig.slots.until(lambda: rig.slots.refused > 0)
    rig.slots.refusal = None
    assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED


async def test_two_dispatchers_share_the_work_and_run_nothing_twice(rig: Rig):
    rig.slots.add(rig.address, 8)
    for _ in range(2):
        rig.dispatch(slots=8)
    ids = [await rig.submit({"n": n}) for n in range(200)]
    for each in ids:
        assert (await rig.ended(each)).state is AsyncState.SUCCEEDED
    assert sorted(body["n"] for body in rig.replica.seen) == list(range(200))


async def test_many_requests_run_on_all_slots(rig: Rig):
    rig.slots.add(rig.address, 16)
    rig.replica.gate.clear()
    ids = [await rig.submit({"n": n}) for n in range(64)]
    rig.dispatch(slots=16, max_replica=1)
    await rig.replica.until(lambda: rig.replica.running == 16)
    rig.replica.gate.set()
    for each in ids:
        assert (await rig.ended(each)).state is AsyncState.SUCCEEDED
    assert rig.replica.most_running == 16
    assert [body["n"] for body in rig.replica.seen[:16]] == list(range(16))


async def test_the_webhook_of_a_finished_request_is_delivered(rig: Rig):
    heard = rig.receiver()
    url = await rig.serve(heard)
    webhooks = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
    rig.dispatch(webhooks=webhooks)
    request_id = await rig.submit({"text": "hello"}, webhook=f"{url}/hook")
    await heard.until(lambda: bool(heard.bodies))
    assert heard.bodies[0]["request_id"] == request_id
    assert heard.bodies[0]["data"] == {"text": "hello"}
    record = await rig.until(request_id, lambda record: record.webhook_status == "SUCCEEDED")
    assert record.state is AsyncState.SUCCEEDED


async def test_attempts_that_are_used_up_by_a_dead_dispatcher_fail_the_request(rig: Rig):
    request_id = await rig.submit(rules=AttemptRules(max_attempts=1))
    assert await rig.store.requests.claim(rig.tag, 1, 0.2)
    rig.dispatch()
    record = await rig.ended(request_id)
    assert record.state is AsyncState.FAILED
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_UNAVAILABLE
    assert not rig.replica.seen
