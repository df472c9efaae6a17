"""What is told of runs: records with the request, spans, metrics, and where a run is now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.dispatcher.dispatcher import Dispatcher
from orchestrator.lifecycle.async_request import AsyncState, AttemptRules
from orchestrator.observatory.protocol import Found
from tests.unit.dispatcher.telling import Told, attributes, parent_id, span_id, trace_id
from tests.unit.router.harness import respond
from tests.unit.store.world import until

if TYPE_CHECKING:
    from tests.unit.dispatcher.conftest import Rig

TRACE, SUBMIT = "ab" * 16, "cd" * 8
ENVIRONMENT = ("echo", "production")


def context(*, sampled: bool) -> dict[str, Any]:
    return {"traceparent": f"00-{TRACE}-{SUBMIT}-0{int(sampled)}", "tracestate": "a=1"}


def dispatch(rig: Rig, told: Told, **table: Any) -> Dispatcher:
    dispatcher = Dispatcher(
        lambda application, queue: rig.slots.holder(queue), telling=told.telling
    )
    rig.dispatchers.append(dispatcher)
    dispatcher.configure(rig.table(**table) | {"telemetry": {"slowest_share": 0.0}})
    return dispatcher


async def failing(body: Any, number: int, send: Any) -> None:
    """Fails the first time."""
    if number == 1:
        await respond(send, 500, b'{"error": "out of luck"}')
    else:
        await respond(send, body=b'{"a": 1}')


async def find(dispatcher: Dispatcher, request_id: str) -> Found:
    return msgspec.msgpack.decode(await dispatcher.sight(request_id.encode()), type=Found)


async def test_a_sampled_request_has_a_run_with_a_wait_and_an_attempt(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    request_id = await rig.submit(**context(sampled=True))
    (kept,) = (await rig.ended(request_id)).runs
    await dispatcher.close(5.0)

    (run,), (wait,), (attempt,) = (told.spans(n) for n in ("run", "queue.wait", "attempt"))
    assert {trace_id(span) for span in (run, wait, attempt)} == {TRACE}
    assert [parent_id(span) for span in (run, wait, attempt)] == [
        SUBMIT,
        span_id(run),
        span_id(run),
    ]
    assert [f"{link.context.span_id:016x}" for link in run.links] == [SUBMIT]
    assert (kept.span_id, kept.wait_span_id) == (span_id(run), span_id(wait))
    assert kept.tried.span_id == span_id(attempt)
    headers = rig.replica.headers[0]
    assert headers[b"traceparent"] == f"00-{TRACE}-{span_id(attempt)}-01".encode()
    assert headers[b"tracestate"] == b"a=1"
    assert attributes(run)["orchestrator.request_id"] == request_id
    assert attributes(attempt)["orchestrator.replica"] == "r1"
    assert wait.start_time is not None
    assert wait.start_time < (run.start_time or 0) == wait.end_time
    assert (attempt.end_time or 0) <= (run.end_time or 0)


async def test_an_unsampled_request_that_went_well_exports_nothing(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    request_id = await rig.submit(**context(sampled=False))
    record = await rig.ended(request_id)
    await dispatcher.close(5.0)

    assert told.spans() == []
    assert rig.replica.headers[0][b"traceparent"].endswith(b"-00")
    assert [run.code for run in record.runs] == [""]


async def test_a_failed_run_is_exported_and_the_next_one_is_sampled(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    rig.replica.answer = failing
    request_id = await rig.submit(**context(sampled=False))
    record = await rig.ended(request_id)
    await dispatcher.close(5.0)

    first, second = record.runs
    assert record.state is AsyncState.SUCCEEDED
    assert (first.code, first.message) == ("MODEL_PREDICT_ERROR", "out of luck")
    assert (first.attempt, first.tried.status, first.tried.failure) == (1, 500, "status")
    assert (second.attempt, second.code, second.tried.failure) == (2, "", "")
    assert [line[b"traceparent"][-3:] for line in rig.replica.headers] == [b"-00", b"-01"]
    assert [run.tried.sampled for run in record.runs] == [False, True]
    attempts = [attributes(span) for span in told.spans("attempt")]
    assert [one.get("orchestrator.retry.reason") for one in attempts] == ["status", None]
    assert [one.get("http.request.resend_count") for one in attempts] == [None, 1]
    assert len(told.spans("run")) == 2


async def test_a_run_on_a_replica_that_was_waited_for_is_sampled_and_linked(rig: Rig):
    told = Told()
    rig.slots.cold = True
    dispatcher = dispatch(rig, told)
    request_id = await rig.submit(**context(sampled=False))
    (run,) = (await rig.ended(request_id)).runs
    await dispatcher.close(5.0)

    assert run.cold
    assert run.tried.sampled
    (wait,) = told.spans("queue.wait")
    assert attributes(wait)["orchestrator.cold_start"] is True
    assert len(wait.links) == 1


async def test_where_nothing_is_exported_flags_go_on_as_they_came(rig: Rig):
    told = Told(on=False)
    rig.slots.cold = True
    dispatcher = dispatch(rig, told)
    await rig.ended(await rig.submit(**context(sampled=True)))
    await rig.ended(await rig.submit(**context(sampled=False)))
    await dispatcher.close(5.0)

    flags = [line[b"traceparent"][-3:] for line in rig.replica.headers]
    assert flags == [b"-01", b"-00"]
    assert told.spans() == []


async def test_runs_are_counted_and_measured(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    rig.replica.answer = failing
    await rig.ended(await rig.submit(**context(sampled=False)))
    await dispatcher.close(5.0)

    batch = told.batch()
    runs = {
        key[1][2]: count
        for key, count in batch.counters.items()
        if key[0] == "orchestrator_async_runs_total"
    }
    assert runs == {"MODEL_PREDICT_ERROR": 1, "ok": 1}
    by_class = (*ENVIRONMENT, "async")
    for name in ("orchestrator_attempt_seconds", "orchestrator_queue_wait_seconds"):
        assert sum(batch.histograms[name, by_class].counts) == 2
        assert {e.trace_id for e in batch.histograms[name, by_class].exemplars.values()} == {TRACE}
    operations = {key[1] for key in batch.histograms if key[0] == "orchestrator_store_seconds"}
    assert {("dispatcher", name) for name in ("look", "claim", "succeed")} <= operations


async def test_a_replica_that_had_no_room_is_no_run(rig: Rig):
    async def full_at_first(body: Any, number: int, send: Any) -> None:
        if number < 3:
            await respond(send, 503, b"", [(b"x-orchestrator-reject", b"capacity")])
        else:
            await respond(send, body=b'{"a": 1}')

    told = Told()
    dispatcher = dispatch(rig, told)
    rig.replica.answer = full_at_first
    record = await rig.ended(await rig.submit(**context(sampled=True)))
    await dispatcher.close(5.0)

    assert [(run.attempt, run.code) for run in record.runs] == [(1, "")]
    assert len(told.spans("run")) == 1


async def test_a_result_that_cannot_be_kept_is_in_the_record_of_its_run(rig: Rig, tmp_path: Any):
    (tmp_path / "file").write_text("no folder")
    told = Told()
    results = {"url": (tmp_path / "file" / "results").as_uri(), "inline_bytes": 1}
    dispatcher = dispatch(rig, told, results=results)
    request_id = await rig.submit(rules=AttemptRules(1, 0.0, 0.0))
    record = await rig.ended(request_id)
    await dispatcher.close(5.0)

    (run,) = record.runs
    assert run.code == "INTERNAL_SERVER_ERROR"
    assert run.tried.status == 200
    assert record.error is not None
    assert run.message == record.error.message
    (span,) = told.spans("run")
    assert attributes(span)["error.type"] == "INTERNAL_SERVER_ERROR"


async def test_a_running_request_is_found_with_its_replica(rig: Rig):
    dispatcher = dispatch(rig, Told())
    rig.replica.gate.clear()
    request_id = await rig.submit(**context(sampled=False))
    await rig.replica.until(lambda: rig.replica.running == 1)

    (live,) = (await find(dispatcher, request_id)).live

    assert (live.replica, live.ahead) == ("r1", None)
    timeline = live.timeline
    assert (timeline.kind, timeline.outcome, timeline.source) == ("run", "running", "d1")
    assert timeline.request_id == timeline.async_id == request_id
    assert timeline.trace_id == TRACE
    assert [attempt.replica for attempt in timeline.attempts] == ["r1"]
    assert timeline.attempts[0].seconds == timeline.seconds > 0


@pytest.mark.parametrize("argument", [b"", b"\xff\xfe", b"x" * 1000, b"ab" * 16])
async def test_what_does_not_run_here_is_not_found(rig: Rig, argument: bytes):
    dispatcher = dispatch(rig, Told())
    found = msgspec.msgpack.decode(await dispatcher.sight(argument), type=Found)
    assert found == Found()


async def test_a_canceled_run_is_told_of_as_dropped(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    rig.replica.gate.clear()
    request_id = await rig.submit(**context(sampled=True))
    await rig.replica.until(lambda: rig.replica.running == 1)

    await rig.store.requests.cancel(request_id)
    await rig.replica.until(lambda: len(rig.replica.gone) == 1)
    await dispatcher.close(5.0)

    assert (await find(dispatcher, request_id)).live == []
    (run,) = told.spans("run")
    assert attributes(run)["error.type"] == "DROPPED"
    (attempt,) = told.spans("attempt")
    assert attributes(attempt)["orchestrator.attempt.outcome"] == "gone"
    record = await rig.store.requests.get(request_id)
    assert record is not None
    assert record.runs == ()


async def test_another_share_of_slow_runs_counts_from_then_on(rig: Rig):
    told = Told()
    dispatcher = dispatch(rig, told)
    table = rig.table()
    dispatcher.configure(table | {"telemetry": {"slowest_share": 0.5}})
    rig.slots.add(rig.address, 8)
    longest = 0.0
    for _ in range(11):
        longest = max(longest, *await asyncio.gather(*(run_seconds(rig) for _ in range(10))))
    rig.replica.gate.clear()
    request_id = await rig.submit(**context(sampled=False))
    await rig.replica.until(lambda: rig.replica.running == 1)
    await until(
        lambda: find(dispatcher, request_id),
        lambda found: found.live[0].timeline.seconds > longest,
    )
    rig.replica.gate.set()
    await rig.ended(request_id)
    await dispatcher.close(5.0)

    assert request_id in {attributes(run)["orchestrator.request_id"] for run in told.spans("run")}


async def run_seconds(rig: Rig) -> float:
    record = await rig.ended(await rig.submit(**context(sampled=False)))
    return record.runs[0].seconds
