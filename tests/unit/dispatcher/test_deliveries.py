"""Webhooks from a real store to real receivers, by one dispatcher or several."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from orchestrator.dispatcher import deliveries as module
from orchestrator.dispatcher.deliveries import Deliveries
from orchestrator.lifecycle.async_request import ErrorCode, WebhookStatus
from orchestrator.lifecycle.webhook import BreakerRules, DeliveryRules
from orchestrator.store import Event, Store
from orchestrator.store.records import Error, Result
from orchestrator.store.results import ResultStore, ResultUnavailable
from orchestrator.webhooks import signatures
from orchestrator.webhooks.receivers import ReceiverPolicy
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signatures import Secrets
from orchestrator.webhooks.traffic import Traffic
from tests.unit.dispatcher.server import Wire
from tests.unit.store.world import RESULT, World, until
from tests.unit.webhooks.receiving import (
    Post,
    Receiver,
    in_turn,
    never,
    receiving,
    saying,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.store.records import Record, Try
    from tests.unit.dispatcher.server import StoreServer
    from tests.unit.webhooks.receiving import Answer

OPEN = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
QUICK = DeliveryRules(pauses_s=(0.02, 0.02))
TOLERANT = BreakerRules(failures=1000)


class Office:
    """The deliveries of one environment, and, if wanted, a parent that looks for what is due.

    Attributes:
        store: its own way to the store.
        deliveries: what is tested.
    """

    def __init__(
        self,
        url: str,
        tag: str,
        *,
        rules: DeliveryRules = QUICK,
        traffic: Traffic | None = None,
        results: Any = None,
        policy: ReceiverPolicy | None = None,
        parent: bool = True,
    ) -> None:
        self.store = Store.open(url)
        self.sender = Sender(policy or ReceiverPolicy(**OPEN), timeout_s=5.0)  # type: ignore[arg-type]
        self.traffic = traffic or Traffic(16, TOLERANT)
        self.deliveries = Deliveries(
            tag,
            webhooks=self.store.deliveries,
            secrets=Secrets(self.store.signing_keys),
            sender=self.sender,
            traffic=self.traffic,
            results=results or ResultStore(),
            rules=rules,
        )
        self._tag = tag
        self._news = asyncio.Event()
        self._forget = self.store.news.subscribe(tag, self._hear) if parent else bool
        self._looking = asyncio.create_task(self._look() if parent else asyncio.sleep(0))
        self.deliveries.stir()

    def _hear(self, event: Event) -> None:
        self._news.set()
        if event.kind == "delivery":
            self.deliveries.stir()

    async def _look(self) -> None:
        while True:
            self._news.clear()
            wait_s = 0.05
            with contextlib.suppress(Exception):
                backlog = await self.store.requests.look(self._tag, 0)
                self.deliveries.due(backlog.deliveries)
                wait_s = min(5.0, backlog.next_s or 5.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.005, wait_s)):
                    await self._news.wait()

    async def close(self, grace_s: float = 5.0) -> None:
        self._looking.cancel()
        self._forget()
        await self.deliveries.close(grace_s)
        await self.sender.close()
        await self.store.close()


class Place:
    """A store, an environment in it, and everything that a test opens."""

    def __init__(self, server: StoreServer, store: Store) -> None:
        self.server = server
        self.store = store
        self.world = World(store)
        self.stack = contextlib.AsyncExitStack()

    def office(self, url: str | None = None, **settings: Any) -> Office:
        office = Office(url or self.server.url, self.world.tag, **settings)
        self.stack.push_async_callback(office.close)
        return office

    async def receiver(self, answer: Answer, host: str = "127.0.0.1") -> Receiver:
        return await self.stack.enter_async_context(receiving(answer, host=host))

    async def ended(self, url: str, **changes: Any) -> str:
        return await self.world.succeeded(webhook=url, **changes)

    async def many_ended(self, url: str, count: int) -> list[str]:
        requests, tag = self.store.requests, self.world.tag
        await asyncio.gather(*(self.world.submit(webhook=url) for _ in range(count)))
        claims = await requests.claim(tag, count, 60.0)
        await asyncio.gather(*(requests.succeed(claim.request_id, 1, RESULT) for claim in claims))
        return [claim.request_id for claim in claims]

    async def until(self, request_id: str, status: WebhookStatus) -> Record:
        return await until(
            lambda: self.world.record(request_id), lambda record: record.webhook_status is status
        )

    async def delivered(self, request_id: str) -> Record:
        return await self.until(request_id, WebhookStatus.SUCCEEDED)

    async def dead(self, request_id: str) -> str:
        """Waits until it is a dead letter; why."""
        await self.until(request_id, WebhookStatus.FAILED)
        letter = await self.store.deliveries.dead_letter(request_id)
        assert letter is not None
        return letter.reason

    async def log(self, request_id: str) -> list[Try]:
        return await self.store.deliveries.log(request_id)


@pytest.fixture
async def place(server: StoreServer) -> AsyncIterator[Place]:
    store = Store.open(server.url)
    place = Place(server, store)
    try:
        yield place
    finally:
        await place.stack.aclose()
        await store.close()


async def test_a_webhook_is_delivered_once_and_written_down(place: Place) -> None:
    receiver = await place.receiver(saying(202, b"thanks"))
    place.office()
    request_id = await place.ended(receiver.url(path="/hook?a=b"))
    record = await place.delivered(request_id)
    (post,) = receiver.posts
    said = json.loads(post.body)
    assert said["request_id"] == post.headers["webhook-id"] == request_id
    assert said["data"] == {"a": 42}
    assert said["errors"] == []
    assert said["time"].endswith("Z")
    (line,) = await place.log(request_id)
    assert (line.attempt, line.status, line.answer) == (1, 202, "thanks")
    assert record.webhook_status is WebhookStatus.SUCCEEDED


async def test_a_failed_request_is_told_of_with_its_error(place: Place) -> None:
    receiver = await place.receiver(saying())
    place.office()
    await place.world.submit(webhook=receiver.url())
    claim = await place.world.claim()
    error = Error(ErrorCode.MODEL_INVALID_INPUT, "no prompt")
    assert await place.store.requests.fail(claim.request_id, claim.attempt, error)
    await place.delivered(claim.request_id)
    said = json.loads(receiver.posts[0].body)
    assert said["data"] is None
    assert said["errors"] == [{"code": "MODEL_INVALID_INPUT", "message": "no prompt"}]


async def test_an_expired_request_is_told_of(place: Place) -> None:
    receiver = await place.receiver(saying())
    place.office()
    request_id = await place.world.submit(webhook=receiver.url(), max_queue_s=0.01)
    await place.delivered(request_id)
    said = json.loads(receiver.posts[0].body)
    assert said["data"] is None
    assert [error["code"] for error in said["errors"]] == ["MODEL_NOT_READY"]


async def test_a_failing_receiver_gets_the_same_webhook_again(place: Place) -> None:
    receiver = await place.receiver(in_turn(saying(500), saying(302, Location="/"), saying()))
    place.office()
    request_id = await place.ended(receiver.url())
    await place.delivered(request_id)
    assert len({post.body for post in receiver.posts}) == 1
    assert {post.headers["webhook-id"] for post in receiver.posts} == {request_id}
    log = await place.log(request_id)
    assert [(line.attempt, line.status) for line in log] == [(1, 500), (2, 302), (3, 200)]


async def test_when_the_schedule_is_used_up_it_is_a_dead_letter_that_can_be_replayed(
    place: Place,
) -> None:
    receiver = await place.receiver(in_turn(*[saying(503)] * 3, saying()))
    place.office()
    request_id = await place.ended(receiver.url())
    assert await place.dead(request_id) == "all tries failed; the last: the receiver answered 503"
    assert len(await place.log(request_id)) == 3
    assert await place.store.deliveries.replay(request_id)
    await place.delivered(request_id)
    assert len(receiver.posts) == 4


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_receiver_that_does_not_want_it_is_not_asked_again(
    place: Place, status: int
) -> None:
    receiver = await place.receiver(saying(status))
    place.office()
    assert await place.dead(await place.ended(receiver.url())) == f"the receiver answered {status}"
    assert len(receiver.posts) == 1


async def test_retry_after_is_waited_for(place: Place) -> None:
    receiver = await place.receiver(saying(429, Retry_After="500"))
    place.office()
    request_id = await place.ended(receiver.url())
    await until(lambda: place.log(request_id), len)
    backlog = await place.store.requests.look(place.world.tag, 0)
    assert backlog.next_s is not None
    assert 490 < backlog.next_s < 560


async def test_a_receiver_that_is_not_allowed_any_more(place: Place) -> None:
    receiver = await place.receiver(saying())
    office = place.office(policy=ReceiverPolicy(allow_http=True), rules=DeliveryRules())
    assert "not a public address" in await place.dead(await place.ended(receiver.url()))
    assert receiver.connections == 0
    assert office.traffic.busy() == []


async def test_a_name_that_resolves_to_a_private_address_at_delivery(place: Place) -> None:
    async def look(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    receiver = await place.receiver(saying())
    place.office(policy=ReceiverPolicy(allow_http=True, lookup=look))
    reason = await place.dead(await place.ended(receiver.url("rebinding.example")))
    assert "rebinding.example resolves to an address that is not public" in reason
    assert receiver.connections == 0


async def test_webhooks_are_signed_with_the_keys_of_the_moment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "KEYS_KEPT_S", 0.0)
    receiver = await place.receiver(saying())
    place.office()
    keys = place.store.signing_keys

    async def headers_of_the_next() -> dict[str, str]:
        await place.delivered(await place.ended(receiver.url()))
        return dict(receiver.posts[-1].headers)

    def verifies(headers: dict[str, str], secret: str | None) -> bool:
        assert secret is not None
        try:
            standardwebhooks.Webhook(secret).verify(receiver.posts[-1].body, headers)
        except standardwebhooks.webhooks.WebhookVerificationError:
            return False
        return True

    assert "webhook-signature" not in await headers_of_the_next()
    old = await keys.create()
    assert verifies(await headers_of_the_next(), old.secret)
    new = await keys.rotate()
    during = await headers_of_the_next()
    assert verifies(during, old.secret)
    assert verifies(during, new.secret)
    assert await keys.delete(old.key_id)
    after = await headers_of_the_next()
    assert not verifies(after, old.secret)
    assert verifies(after, new.secret)


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


class Busy:
    """An answer that waits for a gate, and counts how many wait."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, post: Post, writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            await saying()(post, writer)
        finally:
            self.running -= 1


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


async def test_large_results_are_read_from_where_they_are(place: Place, tmp_path: Any) -> None:
    results = ResultStore(tmp_path.as_uri(), inline_bytes=10)
    data = json.dumps(["x" * 1000] * 1000).encode()
    receiver = await place.receiver(saying())
    place.office(results=results)
    await place.world.submit(webhook=receiver.url())
    claim = await place.world.claim()
    result = await results.put(claim.request_id, claim.attempt, data, "application/json")
    assert result.reference is not None
    assert await place.store.requests.succeed(claim.request_id, claim.attempt, result)
    await place.delivered(claim.request_id)
    assert json.loads(receiver.posts[0].body)["data"] == json.loads(data)
    results.close()


class Shelf:
    """Results by reference, in memory."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.reading = 0
        self.most_reading = 0

    async def read(self, reference: str) -> bytes:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _with_reference(place: Place, url: str, size: int = 10) -> str:
    await place.world.submit(webhook=url)
    claim = await place.world.claim()
    result = Result("application/json", size, None, f"2026-07-01/{claim.request_id}.1")
    assert await place.store.requests.succeed(claim.request_id, claim.attempt, result)
    return claim.request_id


async def test_a_result_that_cannot_be_read_now_is_tried_again(place: Place) -> None:
    receiver = await place.receiver(saying())
    shelf = Shelf(ResultUnavailable("No such bucket"), b"[1]")
    place.office(results=shelf, traffic=Traffic(16, BreakerRules(failures=1)))
    request_id = await _with_reference(place, receiver.url())
    await place.delivered(request_id)
    log = await place.log(request_id)
    assert [line.error for line in log] == [
        "not sent: the result could not be read: No such bucket",
        "",
    ]


async def test_an_error_that_nobody_foresaw_is_a_failed_try_and_gives_nothing_away(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await place.receiver(saying())
    shelf = Shelf(RuntimeError("s3://key:hush@bucket"), b"[1]")
    place.office(results=shelf)
    request_id = await _with_reference(place, receiver.url())
    await place.delivered(request_id)
    log = await place.log(request_id)
    assert log[0].error == "not sent: something went wrong in the dispatcher itself"
    assert f"webhook of {request_id}: RuntimeError" in caplog.text
    assert "hush" not in caplog.text


async def test_large_results_are_in_memory_one_after_the_other(place: Place) -> None:
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office(results=Shelf(b"[1]"), traffic=Traffic(16, TOLERANT, result_bytes=100))
    ids = [await _with_reference(place, receiver.url(), size=80) for _ in range(5)]
    await receiver.until(posts=1)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)
    assert busy.most == 1


async def test_who_waits_too_long_for_memory_comes_again_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_S", 0.02)
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office(results=Shelf(b"[1]"), traffic=Traffic(16, TOLERANT, result_bytes=100))
    ids = [await _with_reference(place, receiver.url(), size=80) for _ in range(2)]
    await receiver.until(posts=1)

    async def pending() -> float | None:
        return (await place.store.requests.look(place.world.tag, 0)).next_s

    await until(pending, lambda next_s: next_s is not None and next_s < 2.0)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)
        assert [line.attempt for line in await place.log(request_id)] == [1]


async def test_only_the_wait_for_memory_is_limited_by_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_S", 0.05)
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office()
    request_id = await place.ended(receiver.url())
    await receiver.until(posts=1)
    asyncio.get_running_loop().call_later(0.3, busy.gate.set)
    await place.delivered(request_id)
    assert len(receiver.posts) == 1


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


async def test_nothing_secret_is_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = await place.store.signing_keys.create()
    receiver = await place.receiver(in_turn(saying(500), saying(410)))
    place.office()
    await place.dead(await place.ended(receiver.url(path="/hook?token=hush")))
    assert "is given up" in caplog.text
    assert "hush" not in caplog.text
    assert key.secret is not None
    assert key.secret not in caplog.text


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
