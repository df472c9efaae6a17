"""Models that tests serve; they say what happens to them through the signals below.

A model runs in the thread and loop of its server, a test in its own: so the
signals are those of threads.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from replicas import InvalidInput, context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

entered = threading.Semaphore(0)
"""Released by each call that is now waiting in a model."""
resume = threading.Event()
"""Lets all that wait in a model go on."""
stopped = threading.Event()
"""A model noticed that it was cancelled or closed."""
healthy = threading.Event()


def reset() -> None:
    while entered.acquire(blocking=False):
        pass
    resume.clear()
    stopped.clear()
    healthy.set()


def release() -> None:
    resume.set()


async def until_entered() -> None:
    assert await asyncio.to_thread(entered.acquire, timeout=20)


async def until_stopped() -> None:
    assert await asyncio.to_thread(stopped.wait, 20)


async def wait_to_resume() -> None:
    """Waits in a model without blocking its loop, and notes when that is cancelled."""
    entered.release()
    try:
        await asyncio.to_thread(resume.wait, 20)
    except asyncio.CancelledError:
        stopped.set()
        resume.set()  # lets the thread go
        raise


class AsyncEcho:
    async def predict(self, body: Any) -> Any:
        return body


class SyncEcho:
    def predict(self, body: Any) -> Any:
        return body


class AsyncBlocked:
    async def predict(self, body: Any) -> Any:
        await wait_to_resume()
        return body


class SyncBlocked:
    def predict(self, body: Any) -> Any:
        entered.release()
        resume.wait(20)
        return {"thread": threading.current_thread().name}


class AsyncChunks:
    """Yields one chunk, waits, yields another."""

    async def predict(self, body: Any) -> AsyncIterator[Any]:
        try:
            yield body["first"]
            await wait_to_resume()
            if body.get("raise"):
                raise ValueError(body["raise"])
            yield body["second"]
        finally:
            stopped.set()


class SyncChunks:
    """The same as a plain generator."""

    def predict(self, body: Any) -> Iterator[Any]:
        try:
            yield body["first"]
            entered.release()
            resume.wait(20)
            if body.get("raise"):
                raise ValueError(body["raise"])
            yield body["second"]
        finally:
            stopped.set()


class ReturnsGenerators:
    """Streams or not, by the body."""

    async def predict(self, body: Any) -> Any:
        if body["kind"] == "async":
            return self._chunks()
        return iter_chunks() if body["kind"] == "sync" else []

    async def _chunks(self) -> AsyncIterator[str]:
        for chunk in iter_chunks():
            yield chunk


def iter_chunks() -> Iterator[str]:
    yield "a"
    yield "b"


class Endless:
    """Yields until it is closed, without ever waiting for anything else."""

    async def predict(self, body: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
                await asyncio.sleep(0)
        finally:
            stopped.set()


class Point(BaseModel):
    x: int


class Array:
    """Stands for what numpy and torch have."""

    def tolist(self) -> list[float]:
        return [0.5, 1.0]


class Answers:
    """Returns the kind of thing that the body names."""

    async def predict(self, body: Any) -> Any:
        kinds: dict[str, Any] = {
            "bytes": b"\x00\x01",
            "text": "héllo",
            "response": PlainTextResponse("teapot", 418, headers={"x-model": "yes"}),
            "pydantic": Point(x=1),
            "array": {"vector": Array()},
            "object": object(),
        }
        if body == "stream-response":
            return StreamingResponse(self._broken(), media_type="text/event-stream")
        return kinds[body]

    async def _broken(self) -> AsyncIterator[str]:
        yield "data: 1\n\n"
        raise RuntimeError("midway")


class Raises:
    async def predict(self, body: Any) -> Any:
        if body == "invalid":
            raise InvalidInput("`size` must be at most 10", detail={"param": "size"})
        raise RuntimeError("out of memory")


class RaisesBeforeFirstChunk:
    async def predict(self, body: Any) -> AsyncIterator[str]:
        raise InvalidInput("nothing to stream")
        yield "never"


class WithApp:
    """Has paths of its own, and a lifespan that they need."""

    def __init__(self) -> None:
        self.started = False
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/blocked", self._blocked, methods=["POST"]),
                Route("/raises", self._raises),
            ],
            lifespan=self._lifespan,
        )

    async def predict(self, body: Any) -> Any:
        return body

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.started = True
        yield
        stopped.set()

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"started": self.started, "query": dict(request.query_params)})

    async def _blocked(self, request: Request) -> Response:
        body = await request.body()
        await wait_to_resume()
        return Response(body)

    async def _raises(self, request: Request) -> Response:
        raise RuntimeError("in a route")


class AppDoesNotStart(WithApp):
    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no licence")
        yield


class Loads:
    """Loads as its arguments say."""

    def __init__(self, how: str) -> None:
        self._how = how

    def load(self) -> None:
        if self._how == "raise":
            raise OSError("weights.bin is truncated")
        if self._how == "exit":
            sys.exit("no GPU")
        if self._how == "block":
            entered.release()
            resume.wait(20)

    def predict(self, body: Any) -> Any:
        return body


class LoadsAsync(Loads):
    async def load(self) -> None:  # type: ignore[override] # either is allowed
        self._loop = asyncio.get_running_loop()
        super().load()

    async def predict(self, body: Any) -> Any:
        return {"same_loop": self._loop is asyncio.get_running_loop()}


class NoPredict:
    pass


class HealthAsked:
    def predict(self, body: Any) -> Any:
        return body

    def is_healthy(self) -> bool:
        return healthy.is_set()


class HealthAskedAsync:
    async def predict(self, body: Any) -> Any:
        return body

    async def is_healthy(self) -> bool:
        if not healthy.is_set():
            raise RuntimeError("CUDA error")
        return True


NOT_A_CLASS = 3


class Talks:
    """Says what it is given, in the way that it is told, and on whose behalf."""

    def predict(self, body: Any) -> Any:
        if body["how"] == "print":
            print(body["text"])
        elif body["how"] == "stderr":
            sys.stderr.write(body["text"] + "\n")
        else:
            logging.getLogger("a.library").warning("%s", body["text"])
        return about()


class AboutAsync:
    async def predict(self, body: Any) -> Any:
        return about()


class AboutThread:
    def predict(self, body: Any) -> Any:
        return about()


class AboutChunks:
    """Each step may be in another thread."""

    def predict(self, body: Any) -> Iterator[Any]:
        yield about()
        yield about()


class AboutApp(AboutAsync):
    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/about", self._about)])

    async def _about(self, request: Request) -> Response:
        return JSONResponse({**about(), "header": request.headers.get("traceparent")})


class ShowsHeaders(AsyncEcho):
    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/headers", self._headers)])

    async def _headers(self, request: Request) -> Response:
        return JSONResponse({"scope": request.headers.keys(), "context": context_headers()})


def context_headers() -> list[str]:
    return [name.decode() for name, _ in context._headers.get()]


def about() -> dict[str, str]:
    """What the model can know of its request."""
    return {
        "request_id": context.request_id(),
        "traceparent": context.traceparent(),
        "tracestate": context.tracestate(),
    }
