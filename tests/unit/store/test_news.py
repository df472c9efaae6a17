"""News: who subscribes hears what happens in an environment, and when it may have missed some."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orchestrator.lifecycle.async_request import AttemptRules
from orchestrator.store import Event, Retention, Store, news
from orchestrator.store.embedded import EmbeddedServer
from orchestrator.store.keys import tag_of
from tests.unit.store.servers import start_alone, valkey
from tests.unit.store.world import BAD, RESULT, WEBHOOK, Hearer, World, attempt, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.store.servers import Server


@pytest.fixture
async def hearer(world: World) -> Hearer:
    hearer = Hearer(world.store, world.tag)
    await world.store.news.ready(world.tag)
    return hearer


async def test_a_submission_is_heard_of(world: World, hearer: Hearer):
    request_id = await world.submit()

    await hearer.until(Event("submitted", request_id))


async def test_the_end_of_a_request_and_its_webhook_are_heard_of(world: World, hearer: Hearer):
    request_id = await world.succeeded(webhook=WEBHOOK)

    await hearer.until(
        Event("submitted", request_id), Event("delivery", request_id), Event("ended", request_id)
    )


async def test_every_end_is_heard_of(world: World, hearer: Hearer):
    failed = await world.submit(rules=AttemptRules(max_attempts=1))
    await world.requests.fail(failed, (await world.claim()).attempt, BAD)
    await hearer.until(Event("submitted", failed), Event("ended", failed))

    expired = await world.submit(max_queue_s=0.0)
    await world.sweep()
    await hearer.until(Event("submitted", expired), Event("ended", expired))

    canceled = await world.submit()
    await world.requests.cancel(canceled)
    await hearer.until(
        Event("submitted", canceled), Event("canceled", canceled), Event("ended", canceled)
    )


async def test_what_may_run_again_is_heard_of(world: World, hearer: Hearer):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, BAD, 0.0)
    await hearer.until(Event("submitted", request_id), Event("submitted", request_id))

    await world.claim(lease_s=0.0)
    await world.sweep()
    await hearer.until(Event("submitted", request_id))

    claim = await world.claim()
    await world.requests.put_back(request_id, claim.attempt, None, 0.001)
    await until(lambda: world.requests.look(world.tag, 0), lambda backlog: backlog.ready)
    await hearer.until(Event("submitted", request_id))


async def test_a_webhook_that_is_to_be_tried_again_is_heard_of(world: World, hearer: Hearer):
    request_id = await world.succeeded(webhook=WEBHOOK)
    delivery = await world.delivery()
    await hearer.until_heard(Event("ended", request_id))

    await world.deliveries.retry(request_id, delivery.attempt, attempt(delivery), 0.0)

    await hearer.until(Event("delivery", request_id))


async def test_a_replay_is_heard_of(world: World, hearer: Hearer):
    request_id = await world.dead_letter()
    hearer.events.clear()

    await world.deliveries.replay(request_id)

    await hearer.until_heard(Event("delivery", request_id))


async def test_what_changes_nothing_is_not_heard_of(world: World, hearer: Hearer):
    request_id = await world.succeeded()
    await world.requests.succeed(request_id, 1, RESULT)
    await world.requests.cancel(request_id)
    await world.requests.put_back(request_id, 1, BAD, 0.0)
    last = await world.submit()

    await hearer.until(
        Event("submitted", request_id), Event("ended", request_id), Event("submitted", last)
    )


async def test_environments_are_heard_of_apart(world: World, hearer: Hearer):
    other = World(world.store, "staging")
    others = Hearer(world.store, other.tag)
    await world.store.news.ready(other.tag)

    there = await other.submit()
    here = await world.submit()

    await hearer.until(Event("submitted", here))
    await others.until(Event("submitted", there))


async def test_several_hear_and_one_that_leaves_hears_no_more(world: World, hearer: Hearer):
    second = Hearer(world.store, world.tag)
    await world.store.news.ready(world.tag)
    first_id = await world.submit()
    for one in (hearer, second):
        await one.until(Event("submitted", first_id))

    second.leave()
    second.leave()
    last = await world.submit()

    await hearer.until(Event("submitted", last))
    assert second.events == []


async def test_one_who_subscribes_again_hears_again(world: World, hearer: Hearer, server: Server):
    hearer.leave()

    async def subscribers() -> int:
        counts: Any = server.client.pubsub_numsub(f"orch:{{{world.tag}}}:news")
        return int(counts[0][1])

    await until(subscribers, lambda count: count == 0)

    again = Hearer(world.store, world.tag)
    await world.store.news.ready(world.tag)
    request_id = await world.submit()

    await again.until(Event("submitted", request_id))
    assert hearer.events == []


async def test_leaving_and_subscribing_in_one_breath_is_heard(world: World, hearer: Hearer):
    hearer.leave()
    again = Hearer(world.store, world.tag)
    await world.store.news.ready(world.tag)
    await World(world.store, "staging").submit()

    request_id = await world.submit()

    await again.until(Event("submitted", request_id))


async def test_whoever_comes_and_goes_quickly_hears_once_it_is_ready(world: World, server: Server):
    for _ in range(100):
        first = Hearer(world.store, world.tag)
        await asyncio.sleep(0)
        first.leave()
        await asyncio.sleep(0)
        hearer = Hearer(world.store, world.tag)
        await world.store.news.ready(world.tag)
        server.client.publish(f"orch:{{{world.tag}}}:news", "submitted x")
        await hearer.until(Event("submitted", "x"))
        hearer.leave()
        await asyncio.sleep(0)


async def test_one_who_waits_for_a_server_that_is_not_there_yet_is_told_when_it_is(
    tmp_path_factory: pytest.TempPathFactory,
):
    folder = tmp_path_factory.mktemp("s")
    server = EmbeddedServer(folder / "data", folder / "socket")
    store = Store.open(server.url)
    hearer = Hearer(store, "0" * 12)
    ready = asyncio.create_task(store.news.ready("0" * 12))
    try:
        await asyncio.to_thread(server.start)
        await ready
        await hearer.until(Event("reconnected"))
    finally:
        await store.close()
        server.end()


async def test_another_process_is_heard_of(
    world: World, hearer: Hearer, open_store: Callable[[], Store]
):
    request_id = await World(open_store()).submit()

    await hearer.until(Event("submitted", request_id))


async def test_one_that_fails_does_not_keep_others_from_hearing(
    world: World, hearer: Hearer, caplog: pytest.LogCaptureFixture
):
    def fail(_event: Event) -> None:
        raise ZeroDivisionError

    world.store.news.subscribe(world.tag, fail)
    after = Hearer(world.store, world.tag)
    request_id = await world.submit()

    for one in (hearer, after):
        await one.until(Event("submitted", request_id))
    assert "ZeroDivisionError" in caplog.text


async def test_a_connection_that_broke_is_made_again_and_all_are_told(
    world: World, hearer: Hearer, server: Server
):
    other = Hearer(world.store, tag_of("m", "staging"))
    await world.store.news.ready(tag_of("m", "staging"))

    server.client.client_kill_filter(_type="pubsub")

    for one in (hearer, other):
        await one.until(Event("reconnected"))
    request_id = await world.submit()
    await hearer.until(Event("submitted", request_id))


async def test_news_survive_a_connection_that_breaks_again_and_again(
    world: World, hearer: Hearer, server: Server
):
    for _ in range(3):
        server.client.client_kill_filter(_type="pubsub")
        await hearer.until(Event("reconnected"))


async def test_a_store_is_closed_also_in_the_moment_in_which_it_asks_for_a_sign_of_life(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(news, "_QUIET_S", 0.02)
    async with asyncio.timeout(30):
        for _ in range(20):
            store = open_store()
            store.news.subscribe("0" * 12, lambda _event: None)
            await store.news.ready("0" * 12)
            await asyncio.sleep(0.02)
            await store.close()


async def test_a_quiet_connection_is_asked_for_a_sign_of_life_and_kept(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, server: Server
):
    monkeypatch.setattr(news, "_QUIET_S", 0.2)
    world = World(open_store())
    hearer = Hearer(world.store, world.tag)
    await world.store.news.ready(world.tag)

    async def pings() -> int:
        return int(server.client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0))

    before = await pings()
    await until(pings, lambda calls: calls > before + 2)

    request_id = await world.submit()
    await hearer.until(Event("submitted", request_id))


async def test_a_connection_without_a_sign_of_life_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
):
    own = start_alone(valkey())
    try:
        world = World(Store.open(own.url))
        hearer = Hearer(world.store, world.tag)
        monkeypatch.setattr(news, "_QUIET_S", 0.05)
        await world.store.news.ready(world.tag)
        process = psutil.Process(own.process.pid).children()[0]

        async def listening() -> bool:
            return world.store.news._in_force[world.tag].is_set()

        process.suspend()
        try:
            await until(listening, lambda in_force: not in_force)
        finally:
            process.resume()

        await hearer.until_heard(Event("reconnected"))
        await world.store.close()
    finally:
        own.stop()


async def test_a_store_that_nobody_listens_to_has_no_connection_for_news(
    open_store: Callable[[Retention], Store], server: Server
):
    store = open_store(Retention())
    await store.ping()

    assert server.client.client_list(_type="pubsub") == []
