"""The span `predict`, and what a model knows of its request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from replicas.predictions import CALLER_GONE, Identity, Predictions
from replicas.runners.python import PythonRunner
from replicas.spec import PythonRunnerSpec
from tests.unit.replicas import models
from tests.unit.replicas.test_streams import until_cut
from tests.unit.told import Exported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp
    from opentelemetry.sdk.trace import ReadableSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
ATTEMPT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{ATTEMPT}-01"
UNSAMPLED = f"00-{TRACE}-{ATTEMPT}-00"
WHO = Identity("m", "production", "d", "r1")


class Served:
    """Models that are served with tracing."""

    def __init__(self) -> None:
        self.exported = Exported("replica")
        self._runners: list[PythonRunner] = []

    async def start(self, model: str) -> str:
        """Serves one; its address."""
        path = f"tests.unit.replicas.models:{model}"
        spec = PythonRunnerSpec.model_validate({"type": "python", "class": path})
        made = Predictions(self.exported.tracing, WHO, slowest_share=0.01)
        runner = PythonRunner(spec, slots=4, host="127.0.0.1", predictions=made)
        self._runners.append(runner)
        await runner.start(lambda _stage: None)
        return runner.address

    async def stop(self) -> None:
        while self._runners:
            await self._runners.pop().stop(0)

    async def spans(self) -> list[ReadableSpan]:
        """Those of all requests: an answer may be there before its request has ended."""
        await self.stop()
        return self.exported.spans


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    yield served
    models.release()
    await served.stop()
    served.exported.tracing.close()


async def post(
    http: aiohttp.ClientSession, url: str, body: Any, traceparent: str, **headers: str
) -> tuple[int, Any]:
    sent = {"traceparent": traceparent, "x-request-id": "r-1", **headers}
    async with http.post(url, json=body, headers=sent) as answer:
        return answer.status, await answer.json(content_type=None)


def only(spans: list[ReadableSpan]) -> ReadableSpan:
    assert [span.name for span in spans] == ["predict"]
    return spans[0]


async def test_a_sampled_request_has_a_span_below_its_attempt(served, http):
    address = await served.start("AsyncEcho")
    state = "vendor=value"
    assert await post(http, f"{address}/predict", 1, SAMPLED, tracestate=state) == (200, 1)
    span = only(await served.spans())
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert span.context is not None
    assert format_trace_id(span.context.trace_id) == TRACE
    assert span.context.trace_state.to_header() == state
    assert span.parent is not None
    assert format_span_id(span.parent.span_id) == ATTEMPT
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0 < span.end_time - span.start_time < 5e9
    assert dict(span.attributes or {}) == {
        "orchestrator.request_id": "r-1",
        "orchestrator.model": "m",
        "orchestrator.environment": "production",
        "orchestrator.deployment": "d",
        "orchestrator.replica": "r1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": "/predict",
        "url.scheme": "http",
    }


async def test_a_request_that_is_not_sampled_has_none(served, http):
    address = await served.start("Raises")
    for parent in (UNSAMPLED, "", "nonsense"):
        status, _ = await post(http, f"{address}/predict", "invalid", parent)
        assert status == 422
    assert await served.spans() == []


@pytest.mark.parametrize("parent", [SAMPLED, UNSAMPLED, ""])
async def test_a_model_that_raises_has_one_in_any_case(served, http, parent):
    address = await served.start("Raises")
    assert (await post(http, f"{address}/predict", "x", parent))[0] == 500
    span = only(await served.spans())
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "RuntimeError: out of memory"
    assert (span.attributes or {})["error.type"] == "500"
    assert (span.parent is not None) == bool(parent)


@pytest.mark.parametrize("model", ["AsyncChunks", "SyncChunks"])
async def test_a_stream_tells_its_first_and_last_byte_and_its_chunks(served, http, model):
    models.release()
    address = await served.start(model)
    body = {"first": "a", "second": "b"}
    headers = {"traceparent": SAMPLED}
    async with http.post(f"{address}/predict", json=body, headers=headers) as answer:
        assert await answer.text() == "ab"
    span = only(await served.spans())
    assert [event.name for event in span.events] == ["first_byte", "last_byte"]
    first, last = (event.timestamp for event in span.events)
    assert span.start_time is not None
    assert span.start_time < first <= last == span.end_time
    assert (span.attributes or {})["orchestrator.stream.chunks"] == 2


@pytest.mark.parametrize("model", ["AsyncChunks", "SyncChunks"])
@pytest.mark.parametrize("first", ["plain text", {"an": "event"}])
async def test_a_stream_that_breaks_off_says_why(served, http, model, first):
    models.release()
    address = await served.start(model)
    body = {"first": first, "raise": "overflow"}
    headers = {"traceparent": UNSAMPLED}
    async with http.post(f"{address}/predict", json=body, headers=headers) as answer:
        await until_cut(answer)
    span = only(await served.spans())
    assert span.status.description == "ValueError: overflow"
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert (span.attributes or {})["error.type"] == "cut"


async def test_a_caller_that_hangs_up_is_told_where_it_is_sampled(served, http):
    address = await served.start("AsyncBlocked")
    for parent in (UNSAMPLED, SAMPLED):
        headers = {"traceparent": parent}
        call = http.post(f"{address}/predict", json=1, headers=headers)
        request = asyncio.create_task(call)
        await models.until_entered()
        request.cancel()
        await models.until_stopped()
        models.reset()
    assert only(await served.spans()).status.description == CALLER_GONE


async def test_the_models_own_paths_have_it_too(served, http):
    address = await served.start("AboutApp")
    headers = {"traceparent": SAMPLED, "x-request-id": "r-7"}
    async with http.get(f"{address}/about?x=secret", headers=headers) as answer:
        about = await answer.json()
    span = only(await served.spans())
    assert (span.attributes or {})["url.path"] == "/about"
    # What the model does is below this span, whichever way it learns of it.
    assert span.context is not None
    own = f"00-{TRACE}-{format_span_id(span.context.span_id)}-01"
    assert about["traceparent"] == about["header"] == own
    assert about["request_id"] == "r-7"


async def test_checks_of_health_and_refusals_have_none(served, http):
    address = await served.start("AsyncEcho")
    async with http.get(f"{address}/health", headers={"traceparent": SAMPLED}) as answer:
        assert answer.status == 200
    assert await served.spans() == []


def test_the_slowest_that_are_not_sampled_are_exported():
    exported = Exported("replica")
    scope = {"headers": [(b"traceparent", UNSAMPLED.encode())], "method": "POST", "path": "/p"}
    made = Predictions(exported.tracing, WHO, slowest_share=0.01)

    async def send(_message: Any) -> None: ...

    for seconds in [1.0] * 200 + [9.0]:
        prediction = made.begin(scope, send)
        prediction.started -= seconds
        made.end(prediction)
    # Their real time comes on top of those seconds: a few others may stand out, too.
    *others, span = exported.spans
    assert len(others) < 20
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time - span.start_time == pytest.approx(9e9, rel=0.2)


@pytest.mark.parametrize("model", ["AboutAsync", "AboutThread", "AboutApp"])
async def test_a_model_knows_its_request_and_can_continue_the_trace(start, http, model):
    replica = await start(model)
    url = f"{replica.address}/predict"
    told = {"request_id": "r-1", "traceparent": UNSAMPLED, "tracestate": "a=1"}
    assert await post(http, url, 1, UNSAMPLED, tracestate="a=1") == (200, told)


async def test_a_generator_knows_it_in_each_step(start, http):
    replica = await start("AboutChunks")
    headers = {"x-request-id": "r-2", "traceparent": UNSAMPLED}
    async with http.post(f"{replica.address}/predict", json=1, headers=headers) as answer:
        text = await answer.text()
    assert text.count('"request_id":"r-2"') == 2


async def test_without_headers_it_is_empty(start, http):
    replica = await start("AboutThread")
    async with http.post(f"{replica.address}/predict", json=1) as answer:
        told = await answer.json()
    assert told == {"request_id": "", "traceparent": "", "tracestate": ""}
