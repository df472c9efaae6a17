"""What is recorded of each request: its timeline, its counts, its place while it is under way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.lifecycle.request import Outcome
from orchestrator.observatory.protocol import REQUEST, REQUESTS, Found
from orchestrator.router.records import Records, encode
from orchestrator.telemetry import metrics
from orchestrator.telemetry.timeline import RequestFilter, Timeline
from tests.unit.router.harness import read_body, respond, table
from tests.unit.router.test_proxying import Recorder as Replica
from tests.unit.router.test_retries import QUICK, Scripted
from tests.unit.router.test_streams import Streaming, _cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.router.conftest import Rig

EVERY = RequestFilter(limit=1000)


async def _post(rig: Rig, path: str = "", *, body: bytes = b"{}", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = rig.url + path if path else rig.predict
    async with rig.http.post(url, data=body, headers=named) as response:
        await response.read()
        return response.status


async def _only(rig: Rig) -> Timeline:
    """The one request that there was, when the router is done with it."""
    await rig.idle.wait()
    (timeline,) = await rig.app.recorder.recent(EVERY)
    return timeline


def _counted(rig: Rig, metric: metrics.Metric) -> Mapping[tuple[str, ...], float]:
    """Values of a counter, or of how often a histogram observed, by labels."""
    rig.app.recorder.flush()
    registry = rig.app.recorder.registry
    found: dict[tuple[str, ...], float] = {}
    for (name, labels), counter in registry._counters.items():
        if name == metric.name and counter.value:
            found[labels] = counter.value
    for (name, labels), histogram in registry._histograms.items():
        if name == metric.name and any(histogram.counts):
            found[labels] = sum(histogram.counts)
    return found


async def test_a_warm_call(rig: Rig) -> None:
    address = await rig.replica(Replica(body=b"0123456789"))
    before = time.time()
    assert await _post(rig, body=b"12345", X_Request_Id="mine") == 200
    it = await _only(rig)
    assert (it.request_id, it.kind, it.method) == ("mine", "call", "POST")
    assert it.path == "/models/echo/production/predict"
    assert (it.status, it.outcome, it.error) == (200, "answered", "")
    assert (it.model, it.environment, it.deployment) == ("echo", "production", "v1")
    assert (it.bytes_in, it.bytes_out, it.key, it.kept) == (5, 10, "", "")
    assert before <= it.began <= it.began + it.seconds <= time.time()
    assert it.source == rig.app.recorder.source
    assert (len(it.trace_id), len(it.span_id), it.parent_id) == (32, 16, "")
    (attempt,) = it.attempts
    assert (attempt.number, attempt.replica, attempt.address) == (1, "r1", address)
    assert (attempt.status, attempt.failure, attempt.sampled) == (200, "", False)
    assert attempt.head_s is not None
    assert it.first_byte_s == pytest.approx(attempt.at_s + attempt.head_s)
    assert 0 < attempt.at_s < attempt.at_s + attempt.seconds <= it.seconds
    assert not it.waits
    assert not it.cold_start
    echo = ("echo", "production")
    assert _counted(rig, metrics.REQUESTS) == {(*echo, "answered"): 1}
    assert _counted(rig, metrics.REQUEST_SECONDS) == {echo: 1}
    assert _counted(rig, metrics.ATTEMPT_SECONDS) == {(*echo, "sync"): 1}
    assert _counted(rig, metrics.QUEUE_WAIT_SECONDS) == {(*echo, "sync"): 1}
    assert not _counted(rig, metrics.FIRST_BYTE_SECONDS)


async def test_a_caller_that_waits_for_a_start_and_its_place_meanwhile(rig: Rig) -> None:
    first = asyncio.create_task(_post(rig, X_Request_Id="first"))
    await rig.echo.until(lambda: rig.echo.waiters == 1)
    second = asyncio.create_task(_post(rig, X_Request_Id="second"))
    await rig.echo.until(lambda: rig.echo.waiters == 2)

    found = await rig.app.recorder.find("second")
    (live,) = found.live
    assert not found.ended
    assert (live.timeline.outcome, live.ahead, live.replica) == ("parked", 1, "")
    (wait,) = live.timeline.waits
    assert (wait.reason, wait.replica) == ("no_replica", "")
    assert live.since == pytest.approx(live.timeline.began + wait.at_s)
    assert wait.at_s + wait.seconds == pytest.approx(live.timeline.seconds)

    await rig.replica(Replica())
    assert list(await asyncio.gather(first, second)) == [200, 200]
    await rig.idle.wait()
    found = await rig.app.recorder.find("first")
    (ended,) = found.ended
    assert not found.live
    assert (ended.cold_start, ended.kept) == (True, "cold_start")
    (wait,) = ended.waits
    assert (wait.reason, wait.cold, wait.replica) == ("no_replica", True, "r1")
    assert wait.at_s + wait.seconds <= ended.attempts[0].at_s
    assert _counted(rig, metrics.COLD_STARTS)["echo", "production"] >= 1


async def test_a_caller_that_waits_for_a_slot(rig: Rig) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        started.set()
        await release.wait()
        await respond(send)

    await rig.replica(slow)
    first = asyncio.create_task(_post(rig, X_Request_Id="first"))
    await started.wait()
    second = asyncio.create_task(_post(rig, X_Request_Id="second"))
    await rig.echo.until(lambda: rig.echo.waiters == 1)
    (running,) = (await rig.app.recorder.find("first")).live
    assert (running.timeline.outcome, running.replica, running.ahead) == ("running", "r1", None)
    assert running.timeline.attempts[0].seconds > 0
    assert running.since == pytest.approx(
        running.timeline.began + running.timeline.attempts[0].at_s
    )
    release.set()
    await asyncio.gather(first, second)
    await rig.idle.wait()
    (ended,) = (await rig.app.recorder.find("second")).ended
    assert [(wait.reason, wait.cold) for wait in ended.waits] == [("no_slot", False)]
    assert ended.kept == ""


async def test_a_retry_on_another_replica(rig: Rig) -> None:
    await rig.replica(Scripted(503), name="bad")
    await rig.replica(Replica(), name="good")
    assert await _post(rig) == 200
    it = await _only(rig)
    assert [(each.replica, each.status, each.failure) for each in it.attempts] == [
        ("bad", 503, "status"),
        ("good", 200, ""),
    ]
    assert [(wait.reason, wait.replica) for wait in it.waits] == [("recalled", "good")]
    assert it.kept == "retry"
    spans = [each.span_id for each in it.attempts] + [each.span_id for each in it.waits]
    assert len({it.span_id, *spans}) == 4
    assert _counted(rig, metrics.RETRIES) == {("echo", "production", "status"): 1}
    assert _counted(rig, metrics.ATTEMPT_SECONDS) == {("echo", "production", "sync"): 2}


async def test_a_replica_that_turned_it_away_was_no_retry(rig: Rig) -> None:
    reject = [(b"x-orchestrator-reject", b"full")]
    await rig.replica(Scripted(503, headers=reject), name="full")
    await rig.replica(Replica(), name="good")
    assert await _post(rig) == 200
    it = await _only(rig)
    assert [each.failure for each in it.attempts] == ["capacity", ""]
    assert it.kept == ""
    assert _counted(rig, metrics.RETRIES) == {("echo", "production", "capacity"): 1}


async def test_a_replica_that_is_not_there(rig: Rig) -> None:
    rig.configure({"echo": {"production": QUICK}})
    for name in ("a", "b", "c", "d"):
        rig.echo.add(name, "http://127.0.0.1:1")
    assert await _post(rig) == 502
    it = await _only(rig)
    assert {each.failure for each in it.attempts} == {"connection"}
    assert len(it.attempts) == 3
    assert "cannot be reached" in it.attempts[0].detail
    assert (it.status, it.outcome, it.kept) == (502, "failed_replica_lost", "error")
    assert "attempts used up" in it.error


async def test_a_stream(rig: Rig) -> None:
    replica = Streaming()
    await rig.replica(replica)
    async with rig.http.post(rig.predict, data=b"{}") as response:
        for piece in (b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"):
            replica.chunks.put_nowait(piece)
            assert await response.content.readexactly(len(piece)) == piece
        live = [each async for each in _live(rig)]
        assert [each.timeline.outcome for each in live] == ["answering"]
        assert live[0].replica == "r1"
        replica.chunks.put_nowait(None)
        await response.read()
    it = await _only(rig)
    assert (it.chunks, it.bytes_out) == (3, 27)
    assert it.first_byte_s is not None
    assert 0 < it.first_byte_s <= it.attempts[0].at_s + it.attempts[0].seconds
    assert 0 < it.longest_gap_s < it.seconds
    assert _counted(rig, metrics.CHUNK_GAP_SECONDS) == {("echo", "production"): 2}
    assert _counted(rig, metrics.FIRST_BYTE_SECONDS) == {("echo", "production"): 1}


async def _live(rig: Rig) -> Any:
    for request in list(rig.app.recorder.live):
        for live in (await rig.app.recorder.find(request.head.request_id.decode())).live:
            yield live


async def test_a_stream_that_breaks_off(rig: Rig) -> None:
    await _cut(rig, b"content-type: text/event-stream\r\n", b"data: 1\n\n")
    it = await _only(rig)
    assert (it.status, it.outcome) == (200, "failed_replica_lost")
    assert [(each.status, each.failure) for each in it.attempts] == [(200, "cut")]
    assert (it.chunks, it.kept) == (1, "error")


@pytest.mark.parametrize(
    ("timeouts", "headers", "failure", "outcome"),
    [
        ({"predict_s": 0.05}, {}, "timeout", "failed_timeout"),
        ({}, {"request-timeout-ms": "50"}, "deadline", "failed_deadline"),
    ],
)
async def test_a_model_that_takes_too_long(
    rig: Rig, timeouts: dict[str, Any], headers: dict[str, str], failure: str, outcome: str
) -> None:
    rig.configure({"echo": {"production": {"timeouts": timeouts}}})

    async def never(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await receive()

    await rig.replica(never)
    assert await _post(rig, "", body=b"{}", **headers) == 504
    it = await _only(rig)
    (attempt,) = it.attempts
    assert (attempt.failure, attempt.status, it.outcome) == (failure, 0, outcome)
    assert attempt.seconds >= 0.04
    assert attempt.detail == it.error


async def test_a_caller_that_goes(rig: Rig) -> None:
    _, writer = await rig.connect()
    writer.write(b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\n\r\n")
    await rig.echo.until(lambda: rig.echo.waiters == 1)
    writer.close()
    it = await _only(rig)
    assert (it.status, it.outcome, it.kept) == (499, "evicted_caller_gone", "error")
    assert [wait.reason for wait in it.waits] == ["no_replica"]


async def test_a_line_without_room(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"queue": {"max_requests": 0}}}})
    rig.echo.settings["max_requests"] = 0
    assert await _post(rig) == 429
    it = await _only(rig)
    assert not it.waits
    assert (it.status, it.outcome) == (429, "rejected_queue_full")
    assert _counted(rig, metrics.SHED) == {("echo", "production", "queue_full"): 1}
    assert not _counted(rig, metrics.QUEUE_WAIT_SECONDS)


async def test_refused_before_its_environment_was_known(rig: Rig) -> None:
    assert await _post(rig, "/models/nope/production/predict") == 404
    it = await _only(rig)
    assert (it.kind, it.status, it.outcome, it.model) == ("other", 404, "rejected_not_found", "")
    assert "nope" in it.error
    assert rig.outcomes("") == {Outcome.REJECTED_NOT_FOUND: 1}


async def test_the_key_is_known_by_its_prefix(rig: Rig) -> None:
    secret = "ab" * 32  # of "secret", for want of a better one
    keys = {"team": {"sha256": secret, "scopes": ["inference"]}}
    rig.app.configure(table(auth={"keys": keys}))
    assert await _post(rig, Authorization="Bearer team.wrong") == 401
    it = await _only(rig)
    assert (it.key, it.outcome) == ("", "rejected_unauthorized")


async def test_probes_leave_no_record(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/healthz") as response:
        assert response.status == 200
    await rig.idle.wait()
    assert not await rig.app.recorder.recent(EVERY)


async def test_management_is_recorded_apart(rig: Rig) -> None:
    async with rig.http.get(f"{rig.url}/api/v1/models") as response:
        sent = await response.read()
        identity = response.headers["x-request-id"]
    await rig.idle.wait()
    (it,) = (await rig.app.recorder.find(identity)).ended
    assert (it.kind, it.status, it.outcome, it.bytes_out) == ("other", 200, "answered", len(sent))


async def test_what_the_observatory_is_answered(rig: Rig) -> None:
    await rig.replica(Replica(), slots=4)
    for number in range(5):
        await _post(rig, X_Request_Id=f"id-{number}")
    await rig.idle.wait()
    answers = rig.app.recorder.answers()
    wanted = msgspec.msgpack.encode(RequestFilter(model="echo", limit=3))
    listed = msgspec.msgpack.decode(await answers[REQUESTS](wanted), type=list[Timeline])
    assert [each.request_id for each in listed] == ["id-4", "id-3", "id-2"]
    found = msgspec.msgpack.decode(await answers[REQUEST](b"id-1"), type=Found)
    assert [each.request_id for each in found.ended] == ["id-1"]
    found = msgspec.msgpack.decode(await answers[REQUEST](b"nobody"), type=Found)
    assert (found.live, found.ended) == ([], [])


def _ended(number: int, **facts: Any) -> bytes:
    facts = {"kind": "call", **facts}
    return encode(Timeline(request_id=f"id-{number}", began=float(number), **facts))


async def test_only_the_newest_are_held() -> None:
    records = Records(1000)
    for number in range(1500):
        records.add(_ended(number), other=False)
    held = await records.select(RequestFilter(limit=10_000))
    assert [held[0].request_id, held[-1].request_id, len(held)] == ["id-1499", "id-500", 1000]
    records.resize(10)
    assert len(await records.select(EVERY)) == 10


async def test_others_do_not_push_requests_out() -> None:
    records = Records(100)
    records.add(_ended(0), other=False)
    for number in range(1, 1000):
        records.add(_ended(number), other=True)
    held = await records.select(EVERY)
    assert (len(held), held[-1].request_id) == (11, "id-0")


async def test_those_that_ended_lately() -> None:
    records = Records(1000)
    for number in range(1000):
        records.add(_ended(number, seconds=1.0), other=number % 2 == 0)
    held = await records.select(RequestFilter(since=995.5, limit=1000))
    assert [each.request_id for each in held] == ["id-999", "id-998", "id-997", "id-996", "id-995"]
