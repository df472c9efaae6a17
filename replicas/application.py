"""The raw ASGI application around a Python model.

    POST /predict   the model's `predict`
    GET  /health    200 while the model says that it is well
    anything else   the model's own ASGI application `app`, if it has one

On an address that other machines can reach, all of it is for the routers and
dispatchers of the cluster alone (see `orchestrator.cluster_secret`).

Raw, because the wrapping of a request into objects and tasks would cost more
than all the rest of the path: a request here is one coroutine.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from orchestrator.cluster_secret import HEADER
from replicas import context
from replicas.answers import decode, encode, error_body
from replicas.children import KEPT_LINES
from replicas.disconnects import Receive, Watch
from replicas.errors import InvalidInput
from replicas.predictions import Predictions, note_error, note_gone
from replicas.streams import EVENT_STREAM, GeneratorChunks, Send, send_stream

if TYPE_CHECKING:
    from orchestrator.cluster_secret import ClusterSecret

logger = logging.getLogger("ray.serve")

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CAPACITY = (b"x-orchestrator-reject", b"capacity")
STRANGER = (b"x-orchestrator-reject", b"stranger")
STRANGER_MESSAGE = "only routers and dispatchers of this cluster are answered here"
_JSON = (b"content-type", b"application/json")
_PLAIN = frozenset({dict, list, str, int, float, bool, type(None)})


class _Kind(Enum):
    COROUTINE = auto()
    GENERATOR = auto()
    THREAD = auto()


class ModelApp:
    """Serves one model to at most `slots` requests at a time.

    It is the last guard of the slots: what comes beyond them is answered with
    503 and `x-orchestrator-reject: capacity`, unread. A slot is free again when
    the model has stopped working, not when the caller has stopped waiting.

    Attributes:
        in_flight: requests that hold a slot now.
        routes: the model's own ASGI application, if it has one.
        lifespan_failure: what that said when its start-up failed, line by line.
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int,
        predictions: Predictions | None = None,
        secret: ClusterSecret | None = None,
    ) -> None:
        """A model that is loaded.

        Args:
            model: it.
            slots: how many requests it runs at once.
            predictions: make its spans; None: traces go nowhere.
            secret: who does not send it gets 403; None: everybody is answered.
        """
        self.in_flight = 0
        self.slots = slots
        self.lifespan_failure: tuple[str, ...] = ()
        self.routes: AsgiApp | None = getattr(model, "app", None)
        self._model = model
        self._predictions = predictions
        self._secret = secret
        self._call = model.predict
        self._kind = _kind_of(model.predict)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="predict")
        # Its own thread: a health check must not wait for the slots.
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="is_healthy")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            if self.routes is not None and scope["type"] == "lifespan":
                await self._lifespan(self.routes, scope, receive, send)
            return
        if self._secret is not None and not _knows(self._secret, scope):
            headers = [STRANGER, (b"connection", b"close")]
            await _refuse(scope, send, 403, STRANGER_MESSAGE, "unauthorized", headers=headers)
            return
        path = scope["path"]
        if path == "/health":
            await self._health(scope, send)
            return
        if self.in_flight >= self.slots:
            message = f"all {self.slots} slots of this replica are taken"
            await _refuse(scope, send, 503, message, "model_unavailable", headers=[CAPACITY])
            return
        prediction = None
        if self._predictions is None:
            context.enter(scope["headers"])
        else:
            prediction = self._predictions.begin(scope, send)
            scope, send = prediction.scope, prediction
        self.in_flight += 1
        try:
            if path == "/predict":
                await self._predict(scope, receive, send)
            else:
                await self._route(scope, receive, send)
        finally:
            self.in_flight -= 1
            if prediction is not None and self._predictions is not None:
                self._predictions.end(prediction)

    def close(self) -> None:
        """Lets the threads end; one that is still in the model ends when that returns."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._checks.shutdown(wait=False, cancel_futures=True)

    async def is_healthy(self) -> bool:
        """What the model's `is_healthy` says; True if it has none. Raises what it raises."""
        check = getattr(self._model, "is_healthy", None)
        if check is None:
            return True
        if inspect.iscoroutinefunction(check):
            return bool(await check())
        loop = asyncio.get_running_loop()
        return bool(await loop.run_in_executor(self._checks, check))

    async def _lifespan(self, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def notice(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.failed":
                lines = message.get("message", "").splitlines()
                self.lifespan_failure = tuple(lines[-KEPT_LINES:])
            await send(message)

        await app(scope, receive, notice)

    async def _health(self, scope: Scope, send: Send) -> None:
        try:
            healthy = await self.is_healthy()
            message = "the model's is_healthy() says that it is not"
        except Exception as error:
            logger.exception("is_healthy() raised")
            healthy, message = False, f"is_healthy() raised {_sentence(error)}"
        if healthy:
            await _answer(send, 200, _JSON, b'{"status":"ok"}')
        else:
            await _refuse(scope, send, 503, message, "model_unavailable")

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            message = f"/predict takes POST, not {scope['method']}"
            allow = [(b"allow", b"POST")]
            await _refuse(scope, send, 405, message, "client_error", headers=allow)
            return
        body = await _read(receive)
        if body is None:
            return
        try:
            value = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            await _refuse(scope, send, 400, f"the body is not JSON: {error}", "client_error")
            return
        await self._run(value, scope, receive, send)

    async def _run(self, value: Any, scope: Scope, receive: Receive, send: Send) -> None:
        watch: Watch | None = None
        try:
            if self._kind is _Kind.THREAD:
                # Not watched: a thread runs to its end whatever the caller does.
                result = await asyncio.get_running_loop().run_in_executor(
                    self._pool, copy_context().run, self._call, value
                )
            elif self._kind is _Kind.COROUTINE:
                watch = Watch(receive)
                result = await self._call(value)
            else:
                result = self._call(value)
            if type(result) in _PLAIN:
                payload = encode(result)
                if watch is not None:
                    watch.stop()
                await _answer(send, 200, _JSON, payload)
                return
            watch = watch or Watch(receive)
            await self._answer_with(result, scope, receive, send, watch)
        except asyncio.CancelledError:
            note_gone(send)
            if watch is None or not watch.gone:
                raise
        except InvalidInput as error:
            await _refuse(scope, send, 422, error.message, "client_error", detail=error.detail)
        except Exception as error:
            logger.exception("the model raised")
            note_error(send, _sentence(error))
            await _refuse(scope, send, 500, *_raised(error))
        finally:
            if watch is not None:
                watch.stop()

    async def _answer_with(
        self, result: Any, scope: Scope, receive: Receive, send: Send, watch: Watch
    ) -> None:
        """Sends a result that is not plain JSON: a stream, a response, bytes, an object."""
        chunks: AsyncIterator[Any] | None = None
        if hasattr(result, "__aiter__"):
            chunks = aiter(result)
        elif inspect.isgenerator(result):
            chunks = GeneratorChunks(result, self._pool)
        if chunks is not None:
            await send_stream(chunks, send, lambda error: _error_event(scope, send, error))
        elif isinstance(result, Response):
            await _relay(result, scope, receive, send, watch.stop)
        else:
            kind = _JSON
            if isinstance(result, bytes | bytearray | memoryview):
                kind, payload = (b"content-type", b"application/octet-stream"), bytes(result)
            else:
                payload = encode(result)
            watch.stop()
            await _answer(send, 200, kind, payload)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.routes is None:
            message = f"no path {scope['path']}; this replica answers /predict and /health"
            await _refuse(scope, send, 404, message, "client_error")
            return
        watch: Watch | None = None
        owner = asyncio.current_task()

        async def receive_then_watch() -> MutableMapping[str, Any]:
            nonlocal watch
            message = await receive()
            if watch is None and not message.get("more_body", False):
                watch = Watch(receive, owner)
            return message

        def stop_watching() -> None:
            if watch is not None:
                watch.stop()

        try:
            await _relay(self.routes, scope, receive_then_watch, send, stop_watching)
        except asyncio.CancelledError:
            note_gone(send)
            if watch is None or not watch.gone:
                raise
        except Exception as error:
            logger.exception("the model's app raised")
            note_error(send, _sentence(error))
            await _refuse(scope, send, 500, *_raised(error))
        finally:
            stop_watching()


async def _relay(
    app: AsgiApp, scope: Scope, receive: Receive, send: Send, stop_watching: Callable[[], None]
) -> None:
    """Lets `app` answer; raises what it raises before it began to.

    If it raises later, the response is left incomplete, as in `send_stream`.
    """
    media_type: bytes | None = None
    complete = False

    async def notice(message: MutableMapping[str, Any]) -> None:
        nonlocal complete, media_type
        if message["type"] == "http.response.start":
            media_type = dict(message.get("headers", ())).get(b"content-type", b"")
        elif not message.get("more_body", False):
            complete = True
            stop_watching()
        await send(message)

    try:
        await app(scope, receive, notice)
    except Exception as error:
        if media_type is None:
            raise
        event = _error_event(scope, send, error)
        if media_type.startswith(EVENT_STREAM) and not complete:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        logger.exception("the model raised after it had begun to answer")


def _knows(secret: ClusterSecret, scope: Scope) -> bool:
    """Whether the caller sends the secret, which then goes no further."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    if len(given) != 1 or not secret.accepts(given[0]):
        return False
    scope["headers"] = [header for header in scope["headers"] if header[0] != HEADER]
    return True


def _kind_of(predict: Callable[..., Any]) -> _Kind:
    if inspect.iscoroutinefunction(predict):
        return _Kind.COROUTINE
    if inspect.isasyncgenfunction(predict) or inspect.isgeneratorfunction(predict):
        return _Kind.GENERATOR
    return _Kind.THREAD


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _raised(error: Exception) -> tuple[str, str]:
    return f"the model raised {_sentence(error)}", "application_error"


def _error_event(scope: Scope, send: Send, error: Exception) -> bytes:
    note_error(send, _sentence(error))
    body = error_body(scope["headers"], *_raised(error))
    return b"event: error\ndata: %b\n\n" % body


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if the caller left before it was complete."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    pieces = [body]
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


async def _answer(
    send: Send,
    status: int,
    content_type: tuple[bytes, bytes],
    body: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    all_headers = [content_type, (b"content-length", b"%d" % len(body))]
    if headers:
        all_headers += headers
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(
    scope: Scope,
    send: Send,
    status: int,
    message: str,
    code: str,
    *,
    detail: dict[str, Any] | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    body = error_body(scope["headers"], message, code, detail)
    await _answer(send, status, _JSON, body, headers)
