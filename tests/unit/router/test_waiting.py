"""`?wait=`: callers that wait for the end of a request, and are told of it at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.request import Outcome
from orchestrator.store.keys import tag_of
from orchestrator.store.records import Result
from tests.unit.router.harness import table

if TYPE_CHECKING:
    from orchestrator.router.waiting import Waiting
    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

TAG = tag_of("echo", "production")
DONE = Result(content_type="application/json", size=1, data=b"1")


def _waiting(rig: Rig) -> Waiting:
    with rig.app._plane.open() as plane:
        return plane.waiting


async def _parked(rig: Rig, callers: int) -> None:
    """Waits until so many callers wait, and their news come in."""
    waiting = _waiting(rig)
    async with asyncio.timeout(10):
        while sum(map(len, _watches(waiting))) < callers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await waiting._news.ready(TAG)


def _watches(waiting: Waiting) -> list[set[Any]]:
    return [
        watches
        for environment in waiting._environments.values()
        for watches in environment.watches.values()
    ]


async def test_the_answer_comes_when_it_ends(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    began = time.monotonic()
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
    await _parked(durable, 1)
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    assert not asking.done()
    await store.requests.succeed(request_id, claim.attempt, DONE)
    status, shown = await asking
    assert (status, shown["status"], shown["result"]) == (200, "SUCCEEDED", 1)
    assert time.monotonic() - began < 10
    assert not _waiting(durable)._environments


async def test_what_has_ended_is_not_waited_for(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    await store.requests.succeed(request_id, claim.attempt, DONE)
    async with asyncio.timeout(10):
        _, shown = await durable.ask("GET", f"/async_request/{request_id}?wait=60")
    assert shown["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("wait", "headers"),
    [("0.05", {}), ("60", {"Request-Timeout-Ms": "50"}), ("5e-2", {}), ("0", {})],
)
async def test_the_wait_has_an_end(
    durable: Rig, store: Store, wait: str, headers: dict[str, str]
) -> None:
    request_id = await durable.submit()
    async with asyncio.timeout(10):
        path = f"/async_request/{request_id}?wait={wait}"
        status, shown = await durable.ask("GET", path, **headers)
    assert (status, shown["status"]) == (200, "QUEUED")


async def test_a_deadline_that_has_passed(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    path = f"/async_request/{request_id}?wait=1"
    status, answer = await durable.ask("GET", path, Request_Deadline_Ms="1")
    assert (status, answer["error_code"]) == (504, "timeout")


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "", "nan", "inf", "1_0", "%201", "1&wait=2"])
async def test_a_wait_that_is_none_is_named(durable: Rig, store: Store, wait: str) -> None:
    status, answer = await durable.ask("GET", f"/async_request/{'0' * 32}?wait={wait}")
    assert (status, answer["detail"]) == (400, {"field": "wait"})


async def test_canceling_ends_the_wait(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
    await _parked(durable, 1)
    await durable.ask("DELETE", f"/async_request/{request_id}")
    assert (await asking)[1]["status"] == "CANCELED"


async def test_news_of_others_wake_nobody(
    durable: Rig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited_for = await durable.submit()
    others = [await durable.submit() for _ in range(20)]
    requests = _waiting(durable)._requests
    reads: asyncio.Queue[None] = asyncio.Queue()
    get = requests.get

    async def counted(request_id: str) -> Any:
        record = await get(request_id)
        reads.put_nowait(None)
        return record

    monkeypatch.setattr(requests, "get", counted)
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{waited_for}?wait=60"))
    for _ in range(2):  # as it came, and once its news were listened to
        await reads.get()
    for other in others:
        await store.requests.cancel(other)
    await store.requests.cancel(waited_for)
    assert (await asking)[1]["status"] == "CANCELED"
    assert reads.qsize() == 1


async def test_a_hundred_callers_share_one_subscription(durable: Rig, store: Store) -> None:
    made = [await durable.submit() for _ in range(10)]
    asking = [
        asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
        for request_id in made
        for _ in range(10)
    ]
    await _parked(durable, 100)
    assert len(_waiting(durable)._environments) == 1
    subscribers = await store._connection.command("PUBSUB", "NUMSUB", f"orch:{{{TAG}}}:news")
    assert subscribers[1] == 1
    for _ in made:
        (claim,) = await store.requests.claim(TAG, 1, 30.0)
        await store.requests.succeed(claim.request_id, claim.attempt, DONE)
    answers = await asyncio.gather(*asking)
    assert {(status, shown["status"]) for status, shown in answers} == {(200, "SUCCEEDED")}
    assert not _waiting(durable)._environments


async def test_a_caller_that_goes_away_is_forgotten(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    _, writer = await durable.connect()
    durable.begun.clear()
    writer.write(b"GET /async_request/%b?wait=60 HTTP/1.1\r\nhost: a\r\n\r\n" % request_id.encode())
    await durable.begun.wait()
    await _parked(durable, 1)
    writer.close()
    async with asyncio.timeout(10):
        await durable.idle.wait()
    assert not _waiting(durable)._environments
    assert durable.outcomes("")[Outcome.EVICTED_CALLER_GONE] == 1


async def test_a_server_that_gives_the_call_up_frees_it(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    path = f"/async_request/{request_id}"
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"wait=60",
        "headers": [(b"host", b"a")],
        "client": ("127.0.0.1", 1),
    }
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be sent")

    task = asyncio.create_task(durable.app(scope, receive, send))
    await _parked(durable, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _waiting(durable)._environments


async def test_a_router_that_ends_sends_its_waiters_home(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
    await _parked(durable, 1)
    async with asyncio.timeout(10):
        await durable.app.close()
        status, shown = await asking
    assert (status, shown["status"]) == (200, "QUEUED")


async def test_another_store_sends_its_waiters_home(
    durable: Rig, store: Store, store_server: EmbeddedServer
) -> None:
    request_id = await durable.submit()
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
    await _parked(durable, 1)
    durable.app.configure(table(store=f"{store_server.url}?db=0"))
    async with asyncio.timeout(10):
        status, shown = await asking
    assert (status, shown["status"]) == (200, "QUEUED")


async def test_a_lost_connection_makes_them_look_again(durable: Rig, store: Store) -> None:
    """What ended while the news were cut off is noticed when they are back."""
    request_id = await durable.submit()
    asking = asyncio.create_task(durable.ask("GET", f"/async_request/{request_id}?wait=60"))
    await _parked(durable, 1)
    command = store._connection.command
    await command("CLIENT", "KILL", "TYPE", "pubsub")
    # No news of this reach anybody: it changes as if the word had been lost.
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    await store.requests.succeed(request_id, claim.attempt, DONE)
    async with asyncio.timeout(15):
        assert (await asking)[1]["status"] == "SUCCEEDED"
