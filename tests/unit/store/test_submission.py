"""A request is accepted once, whole, and known from then on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, WebhookStatus
from orchestrator.store import keys
from orchestrator.store.records import Bounds, Depth
from tests.unit.store.world import WEBHOOK, World

if TYPE_CHECKING:
    from tests.unit.store.servers import Server


async def test_an_accepted_request_is_told_of_as_it_was_submitted(world: World):
    request_id = await world.submit(deployment="v7", priority=2, webhook=WEBHOOK)

    record = await world.record(request_id)

    assert record.state is AsyncState.QUEUED
    assert (record.model, record.environment, record.deployment) == ("m", "production", "v7")
    assert (record.priority, record.attempts, record.queue_position) == (2, 0, 0)
    assert (record.webhook, record.webhook_status) == (WEBHOOK, WebhookStatus.PENDING)
    assert record.created_at == record.status_at
    assert record.error is None
    assert record.result is None


async def test_a_request_without_a_webhook_says_so(world: World):
    record = await world.record(await world.submit())

    assert (record.webhook, record.webhook_status) == (None, WebhookStatus.NOT_PROVIDED)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'"\xc3\xa9\\u0000\\ud83d"', bytes(range(256)), b"x" * (1 << 20)],
    ids=["empty", "escapes", "every byte", "a megabyte"],
)
async def test_the_input_reaches_the_dispatcher_byte_by_byte(world: World, body: bytes):
    await world.submit(input=body)

    assert (await world.claim()).input == body


async def test_what_the_caller_wants_reaches_the_dispatcher(world: World):
    rules = AttemptRules(max_attempts=7, initial_delay_s=0.25, max_delay_s=60)
    trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "vendor=1"}
    request_id = await world.submit(rules=rules, **trace)

    claim = await world.claim()

    assert (claim.request_id, claim.attempt, claim.rules) == (request_id, 1, rules)
    assert (claim.model, claim.environment, claim.deployment) == ("m", "production", "v1")
    assert {"traceparent": claim.traceparent, "tracestate": claim.tracestate} == trace
    assert 0 <= claim.waited_s < 30


async def test_a_submission_sent_again_because_its_answer_was_lost_is_the_same_request(
    world: World,
):
    submission = world.submission()

    answers = [await world.requests.submit(submission) for _ in range(3)]

    assert [answer.request_id for answer in answers] == [submission.request_id] * 3
    assert all(answer.created for answer in answers)
    assert await world.requests.depth(world.tag) == Depth(queued=1, in_progress=0)


async def test_many_at_once_are_all_accepted(world: World):
    ids = await asyncio.gather(*(world.submit() for _ in range(300)))

    assert len(set(ids)) == 300
    assert await world.requests.depth(world.tag) == Depth(queued=300, in_progress=0)


@pytest.mark.parametrize("name", ["", "nothing", "0" * 31, "0" * 33, "G" * 32, "*" * 32])
async def test_what_is_no_id_is_unknown(world: World, name: str):
    assert await world.requests.get(name) is None
    assert await world.requests.cancel(name) is None
    assert await world.deliveries.log(name) == []
    assert not await world.deliveries.replay(name)


async def test_an_id_that_was_never_given_is_unknown(world: World):
    never = keys.new_id(world.tag)

    assert await world.requests.get(never) is None
    assert await world.requests.cancel(never) is None


async def test_environments_know_nothing_of_each_other(world: World):
    other = World(world.store, "staging")
    bounds = Bounds(max_requests=1)
    here = await world.submit(bounds=bounds, idempotency=("key", "body"))
    there = await other.submit(bounds=bounds, idempotency=("key", "another body"))

    assert (await other.claim()).request_id == there
    assert await world.requests.depth(world.tag) == Depth(queued=1, in_progress=0)
    assert (await world.claim()).request_id == here


async def test_all_keys_of_an_environment_share_a_slot_and_its_ids_begin_with_its_tag(
    world: World, server: Server
):
    request_id = await world.dead_letter(key="abcd", idempotency=("key", "body"))
    await world.submit(key="abcd")

    assert request_id.startswith(world.tag)
    names = [name.decode() for name in server.client.scan_iter()]
    assert len(names) >= 8
    assert {name.partition("}")[0] for name in names} == {f"orch:{{{world.tag}"}
