"""A webhook that was given up is in a list, from which it is replayed or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.async_request import AsyncState, WebhookStatus
from orchestrator.store.records import Backlog
from tests.unit.store.world import LONG_S, RESULT, WEBHOOK, World, attempt

if TYPE_CHECKING:
    from tests.unit.store.servers import Server


async def test_what_is_given_up_is_a_dead_letter_with_its_reason_and_its_log(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    first = await world.delivery()
    lines = [attempt(first, status=500)]
    await world.deliveries.retry(request_id, first.attempt, lines[0], 0.0)
    last = await world.delivery()
    lines.append(attempt(last, status=410, answer="gone"))

    assert await world.deliveries.give_up(request_id, last.attempt, lines[1], "it said 410")

    letter = await world.deliveries.dead_letter(request_id)
    assert letter is not None
    assert (letter.request_id, letter.url) == (request_id, WEBHOOK)
    assert (letter.model, letter.environment) == ("m", "production")
    assert (letter.reason, letter.tries) == ("it said 410", lines)
    record = await world.record(request_id)
    assert letter.given_up_at > record.status_at
    assert record.webhook_status is WebhookStatus.FAILED
    assert (record.state, record.result) == (AsyncState.SUCCEEDED, RESULT)
    assert await world.requests.look(world.tag, 0) == Backlog(ready=0)


async def test_giving_up_twice_is_giving_up_once(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)
    line = attempt(await world.delivery())

    assert await world.deliveries.give_up(request_id, 1, line, "gone")
    assert await world.deliveries.give_up(request_id, 1, line, "gone")

    assert await world.deliveries.log(request_id) == [line]


async def test_what_is_no_dead_letter_is_none(world: World):
    request_id = await world.succeeded(webhook=WEBHOOK)

    assert await world.deliveries.dead_letter(request_id) is None
    assert not await world.deliveries.replay(request_id)
    assert not await world.deliveries.drop(request_id)
    assert (await world.record(request_id)).webhook_status is WebhookStatus.PENDING


async def test_one_that_vanished_is_none_any_more(world: World, server: Server):
    request_id = await world.dead_letter()
    other = await world.dead_letter()
    base = f"orch:{{{world.tag}}}:"
    server.client.delete(f"{base}request:{request_id}", f"{base}tries:{request_id}")

    assert await world.deliveries.dead_letter(request_id) is None
    letters, _ = await world.deliveries.dead_letters(world.tag, limit=10)
    assert [letter.request_id for letter in letters] == [other]
    assert not await world.deliveries.replay(request_id)
    for index in ("kept", "list:SUCCEEDED"):
        server.client.zrem(base + index, request_id)  # this comes at its time


async def test_they_are_listed_newest_first_in_pages(world: World):
    ids = [await world.dead_letter() for _ in range(5)]

    listed, cursor = [], None
    while True:
        page, cursor = await world.deliveries.dead_letters(world.tag, cursor=cursor, limit=2)
        assert len(page) <= 2
        listed += [letter.request_id for letter in page]
        if cursor is None:
            break

    assert listed == [*reversed(ids)]


async def test_an_environment_without_dead_letters_has_none(world: World):
    assert await world.deliveries.dead_letters(world.tag, limit=10) == ([], None)


async def test_a_replayed_dead_letter_is_due_with_its_tries_from_the_beginning(world: World):
    request_id = await world.dead_letter()

    assert await world.deliveries.replay(request_id)

    assert (await world.record(request_id)).webhook_status is WebhookStatus.PENDING
    assert await world.deliveries.dead_letter(request_id) is None
    delivery = await world.delivery()
    assert (delivery.request_id, delivery.attempt) == (request_id, 1)
    assert delivery.record.result == RESULT
    assert await world.deliveries.delivered(request_id, 1, attempt(delivery))
    assert (await world.record(request_id)).webhook_status is WebhookStatus.SUCCEEDED
    assert len(await world.deliveries.log(request_id)) == 2


async def test_it_is_replayed_once(world: World):
    request_id = await world.dead_letter()

    assert await world.deliveries.replay(request_id)
    assert not await world.deliveries.replay(request_id)


async def test_a_replayed_one_may_be_given_up_again(world: World):
    request_id = await world.dead_letter()
    await world.deliveries.replay(request_id)
    delivery = await world.delivery()
    line = attempt(delivery, status=404)

    assert await world.deliveries.give_up(request_id, delivery.attempt, line, "404 again")

    letter = await world.deliveries.dead_letter(request_id)
    assert letter is not None
    assert letter.reason == "404 again"
    assert [line.status for line in letter.tries] == [410, 404]


async def test_a_dropped_dead_letter_is_gone_and_its_webhook_stays_failed(world: World):
    request_id = await world.dead_letter()

    assert await world.deliveries.drop(request_id)

    assert await world.deliveries.dead_letters(world.tag, limit=10) == ([], None)
    assert (await world.record(request_id)).webhook_status is WebhookStatus.FAILED
    assert not await world.deliveries.drop(request_id)
    assert not await world.deliveries.replay(request_id)
    assert await world.deliveries.claim(world.tag, 1, LONG_S) == []
