"""What waits for busy and failing receivers, and what does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.dispatcher import deliveries as module
from orchestrator.lifecycle.webhook import BreakerRules, DeliveryRules
from orchestrator.webhooks.traffic import Traffic
from tests.unit.dispatcher.deliveries.office import TOLERANT, Busy, Office, Place
from tests.unit.store.world import World, until
from tests.unit.webhooks.receiving import Post, saying

if TYPE_CHECKING:
    import pytest


async def test_a_slow_host_has_its_bound_and_holds_up_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy()
    slow = await place.receiver(busy)
    quick = await place.receiver(saying(), host="127.0.0.2")
    many = [await place.ended(slow.url()) for _ in range(20)]
    one = await place.ended(quick.url("127.0.0.2"))
    office = place.office(traffic=Traffic(3, TOLERANT))
    monkeypatch.setattr(office.store.deliveries, "defer", _must_not_happen)
    await place.delivered(one)
    assert busy.most == 3
    busy.gate.set()
    for request_id in many:
        await place.delivered(request_id)
    assert busy.most == 3
    assert len(slow.posts) == 20


async def _must_not_happen(*_args: object) -> bool:
    raise AssertionError("more was claimed than could be sent")


async def test_a_large_backlog_of_a_slow_host_holds_up_no_other(place: Place) -> None:
    busy = Busy()
    slow = await place.receiver(busy)
    quick = await place.receiver(saying(), host="127.0.0.2")
    await place.many_ended(slow.url(), 700)
    one = await place.ended(quick.url("127.0.0.2"))
    office = place.office(traffic=Traffic(2, TOLERANT))
    await place.delivered(one)
    assert len(slow.posts) == 2
    await office.close(grace_s=0.0)


async def test_what_let_others_by_is_sent_when_its_host_is_free_again(place: Place) -> None:
    busy = Busy()
    slow = await place.receiver(busy)
    ids = await place.many_ended(slow.url(), 302)
    place.office(traffic=Traffic(2, TOLERANT), parent=False)

    async def due() -> int:
        return (await place.store.requests.look(place.world.tag, 0)).deliveries

    await until(due, lambda count: not count)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)


async def test_an_environment_has_its_bound_and_goes_on_when_there_is_room(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_A_TIME", 2)
    busy = Busy()
    receiver = await place.receiver(busy)
    ids = await place.many_ended(receiver.url(), 9)
    place.office(parent=False)
    await receiver.until(posts=2)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)
    assert busy.most == 2


async def test_environments_of_a_process_share_a_hosts_bound(place: Place) -> None:
    busy = Busy()
    slow = await place.receiver(busy)
    traffic = Traffic(2, TOLERANT)
    other = World(place.store, "staging")
    many = [await place.ended(slow.url()) for _ in range(6)]
    many += [await other.succeeded(webhook=slow.url()) for _ in range(6)]
    place.office(traffic=traffic)
    staging = Office(place.server.url, other.tag, traffic=traffic)
    place.stack.push_async_callback(staging.close)
    await slow.until(posts=2)
    busy.gate.set()
    for request_id in many:
        await place.delivered(request_id)
    assert busy.most == 2


async def test_a_failing_host_is_left_alone_and_its_webhooks_keep_their_tries(
    place: Place,
) -> None:
    works = asyncio.Event()

    async def answer(post: Post, writer: asyncio.StreamWriter) -> None:
        await saying(200 if works.is_set() else 500)(post, writer)

    receiver = await place.receiver(answer)
    other = await place.receiver(saying(), host="127.0.0.2")
    traffic = Traffic(16, BreakerRules(failures=3, pause_s=0.3, longest_pause_s=0.3))
    rules = DeliveryRules(pauses_s=(0.01,) * 7)
    ids = [await place.ended(receiver.url()) for _ in range(12)]
    place.office(traffic=traffic, rules=rules)
    await receiver.until(posts=3)
    await place.delivered(await place.ended(other.url("127.0.0.2")))
    seen = len(receiver.posts)
    works.set()
    for request_id in ids:
        await place.delivered(request_id)
    assert seen <= 16 + 2, "the first claim, and a probe or two"
    for request_id in ids:
        assert all(line.status is not None for line in await place.log(request_id))


async def test_webhooks_that_are_held_back_for_too_long_reach_the_dead_letters(
    place: Place,
) -> None:
    receiver = await place.receiver(saying(500))
    traffic = Traffic(16, BreakerRules(failures=1, pause_s=60.0))
    rules = DeliveryRules(pauses_s=(0.01, 0.01), longest_held_s=-1.0)
    place.office(traffic=traffic, rules=rules)
    first = await place.ended(receiver.url())
    await place.dead(first)
    reason = await place.dead(await place.ended(receiver.url()))
    assert "not sent: its receiver is left alone" in reason
    assert len(receiver.posts) == 1
