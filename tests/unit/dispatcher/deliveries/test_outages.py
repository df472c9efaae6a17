"""Webhooks survive dispatchers, outages of the store, and bugs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from orchestrator.dispatcher import deliveries as module
from orchestrator.dispatcher.deliveries import Deliveries
from orchestrator.lifecycle.async_request import WebhookStatus
from orchestrator.webhooks.traffic import Traffic
from tests.unit.dispatcher.deliveries.office import TOLERANT, Place
from tests.unit.dispatcher.server import Wire
from tests.unit.webhooks.receiving import Post, in_turn, never, saying

if TYPE_CHECKING:
    import pytest


async def test_many_webhooks_by_three_dispatchers_each_delivered_once(place: Place) -> None:
    receiver = await place.receiver(saying())
    ids = [await place.ended(receiver.url()) for _ in range(120)]
    for _ in range(3):
        place.office()
    for request_id in ids:
        await place.delivered(request_id)
    assert sorted(post.headers["webhook-id"] for post in receiver.posts) == sorted(ids)


async def test_what_a_dead_dispatcher_was_sending_is_sent_by_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deliveries, "_lease_s", 0.3)
    receiver = await place.receiver(in_turn(never, saying()))
    first = place.office()
    request_id = await place.ended(receiver.url())
    await receiver.until(posts=1)
    await first.close(grace_s=0.0)
    place.office()
    await place.delivered(request_id)
    assert [line.attempt for line in await place.log(request_id)] == [2]
    assert {post.headers["webhook-id"] for post in receiver.posts} == {request_id}


async def test_what_is_under_way_at_the_end_is_finished(place: Place) -> None:
    gate = asyncio.Event()

    async def answer(post: Post, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await saying()(post, writer)

    receiver = await place.receiver(answer)
    office = place.office(traffic=Traffic(1, TOLERANT))
    request_id = await place.ended(receiver.url())
    await receiver.until(posts=1)
    other = await place.ended(receiver.url())
    closing = asyncio.create_task(office.deliveries.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert office.deliveries.under_way == 0
    assert (await place.world.record(request_id)).webhook_status is WebhookStatus.SUCCEEDED
    office.deliveries.stir()
    record = await place.world.record(other)
    assert record.webhook_status is WebhookStatus.PENDING, "nothing was claimed any more"
    assert len(receiver.posts) == 1


async def test_an_outage_of_the_store_loses_no_outcome(place: Place) -> None:
    gate = asyncio.Event()

    async def answer(post: Post, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await saying()(post, writer)

    receiver = await place.receiver(answer)
    wire = Wire(place.server, "wire")
    await wire.mend()
    office = place.office(wire.url)
    place.stack.push_async_callback(wire.close)
    request_id = await place.ended(receiver.url())
    await receiver.until(posts=1)
    await wire.cut()
    gate.set()
    later = await place.ended(receiver.url())
    await wire.mend()
    await place.delivered(request_id)
    await place.delivered(later)
    assert len(receiver.posts) == 2
    assert len(await place.log(request_id)) == 1
    assert office.deliveries.under_way <= 1
    await office.close()
    await wire.close()


async def test_a_bug_does_not_end_the_deliveries(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    receiver = await place.receiver(saying())
    office = place.office()
    claim = office.store.deliveries.claim
    failures = [ValueError("one"), ValueError("two")]

    async def fail_twice(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await claim(*args)

    monkeypatch.setattr(office.store.deliveries, "claim", fail_twice)
    await place.delivered(await place.ended(receiver.url()))
    assert caplog.text.count("cannot be claimed") == 2


async def test_an_idle_environment_asks_the_store_for_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await place.receiver(saying())
    office = place.office()
    asked: list[float] = []
    claim = office.store.deliveries.claim

    async def count(*args: Any) -> Any:
        asked.append(time.monotonic())
        return await claim(*args)

    monkeypatch.setattr(office.store.deliveries, "claim", count)
    await place.delivered(await place.ended(receiver.url()))
    seen = len(asked)
    await place.world.succeeded()  # news, but no webhook
    office.deliveries.due(0)
    for _ in range(20):
        await place.store.ping()
    assert len(asked) == seen
