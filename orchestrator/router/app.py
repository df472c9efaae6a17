"""The router as an ASGI application: raw on the hot path, Starlette for the rest.

The way of an inference request: `RouterApp` reads its head, checks its key and
finds its route; a `Call` gets a permit, runs it and passes the answer on. One
place here turns what went wrong into an answer, a count and a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cluster_secret import ClusterSecret
from orchestrator.lifecycle.errors import (
    CallerGone,
    Draining,
    MethodNotAllowed,
    RequestError,
    UnknownAddress,
)
from orchestrator.lifecycle.request import Outcome, State, outcome_of
from orchestrator.observatory.protocol import Part, Source
from orchestrator.observatory.reporter import Reporter
from orchestrator.router import access_log, async_requests, management, openai
from orchestrator.router.async_requests import AsyncRequests
from orchestrator.router.auth import INFERENCE, UNLIMITED
from orchestrator.router.call import Call
from orchestrator.router.directory import Directory, Route
from orchestrator.router.durable import DurablePlane
from orchestrator.router.endpoint import Endpoint
from orchestrator.router.exchange import CALL, SUBMIT, Exchange
from orchestrator.router.headers import RequestHead, context_lines, own_headers
from orchestrator.router.identity import RequestIds
from orchestrator.router.outbox import Outbox
from orchestrator.router.recorder import Recorder
from orchestrator.router.responses import (
    CALLER_GONE_STATUS,
    Answer,
    error_answer,
    json_answer,
    send_answer,
    status_of,
)
from orchestrator.router.table import decode
from orchestrator.router.targets import Action
from orchestrator.router.upstream import UpstreamPool
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.observatory.protocol import Observatory
    from orchestrator.router.body import Body, Receive
    from orchestrator.router.permits import MakePermitClient
    from orchestrator.router.responses import Send
    from orchestrator.router.table import RoutingTable
    from orchestrator.telemetry.settings import TelemetrySettings

    MakeTracing = Callable[[TelemetrySettings, Registry], Tracing]

logger: Final = logging.getLogger("orchestrator.router")

_UNROUTABLE: Final = frozenset({"CONNECT", "TRACE"})
_SYNC_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class RouterApp:
    """The ASGI application.

    `configure` must have been called, on the running loop, before it can route;
    until then it is not ready.

    Attributes:
        recorder: the records of its requests.
        observatory: where it tells them, and asks for those of others; None: nowhere.
    """

    def __init__(
        self,
        *,
        make_permits: MakePermitClient,
        version: str,
        says_request_id: bool = True,
        make_observatory: Callable[[], Observatory] | None = None,
        make_tracing: MakeTracing | None = None,
    ) -> None:
        """A router without a table.

        Args:
            make_permits: makes the permit client of an environment.
            version: of this software, for `/openapi.json`.
            says_request_id: whether to send `x-request-id`; Serve's own middleware
                does it where there is one, and twice would be wrong.
            make_observatory: makes the way to the observatory, on the running loop.
            make_tracing: makes what exports spans; None: none are.

        Raises:
            SecretError: the environment names a file of secrets that is none.
        """
        self.observatory: Observatory | None = None
        self._version = version
        self._make_observatory = make_observatory
        self._make_tracing = make_tracing
        self._registry = registry = Registry()
        self._tracing: Tracing | None = None
        self._reporter: Reporter | None = None
        self._make_permits = make_permits
        self._says_id = says_request_id
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._directory: Directory | None = None
        self._pool = UpstreamPool(ClusterSecret.from_environment())
        self._ids = RequestIds()
        self._plane = DurablePlane(registry)
        source = f"router/{socket.gethostname()}/{os.getpid()}/{os.urandom(3).hex()}"
        self.recorder = Recorder(source, registry, Outbox(self._plane, registry, Part.ROUTER))
        self._async_requests = AsyncRequests(self._plane, self.recorder)
        self._management = management.Management(
            version,
            lambda: self._directory,
            self._plane,
            says_request_id=says_request_id,
            observatory=lambda: self.observatory,
        )
        self._retiring: set[asyncio.Task[None]] = set()

    def configure(self, user_config: dict[str, Any]) -> None:
        """Goes by another routing table from the next request on.

        Raises:
            ValueError: it is not a valid one; the old one stays.
        """
        table = decode(user_config)
        wanted = {
            (model, name): settings
            for model, entry in table.models.items()
            for name, settings in entry.environments.items()
        }
        endpoints: dict[tuple[str, str], Endpoint] = {}
        for (model, name), settings in wanted.items():
            endpoint = self._endpoints.get((model, name))
            if endpoint is None or endpoint.settings.application != settings.application:
                permits = self._make_permits(settings.application, settings.queue)
                endpoint = Endpoint(model, name, settings, permits)
            else:
                endpoint.reconfigure(settings)
            endpoints[model, name] = endpoint
        gone = [each for key, each in self._endpoints.items() if endpoints.get(key) is not each]
        self._endpoints = endpoints
        self._directory = Directory(table, endpoints)
        self._plane.configure(table)
        self._tell(table)
        for endpoint in gone:
            task = asyncio.get_running_loop().create_task(endpoint.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _tell(self, table: RoutingTable) -> None:
        """Begins to tell of requests, at the first table, or does it as another one says."""
        if self._tracing is None:
            make = self._make_tracing
            settings = table.telemetry
            self._tracing = Tracing.off() if make is None else make(settings, self._registry)
        self.recorder.configure(table.telemetry, self._tracing)
        if self._make_observatory is not None and self._reporter is None:
            self.observatory = self._make_observatory()
            source = Source(self.recorder.source, Part.ROUTER, version=self._version)
            answers = self.recorder.answers()
            reporter = Reporter(self.observatory, source, self._registry, answers=answers)
            reporter.start()
            self._reporter = reporter

    async def close(self) -> None:
        """Refuses what is parked, lets what runs end, and closes all connections."""
        self._management.drain()
        self._directory = None
        endpoints, self._endpoints = self._endpoints, {}
        self._plane.send_home()
        await asyncio.gather(
            *self._retiring,
            *(endpoint.retire() for endpoint in endpoints.values()),
        )
        self.recorder.flush()
        await self.recorder.outbox.close()
        await self._plane.close()
        self._pool.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self._reporter is not None:
            await self._reporter.close()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await _refuse_websocket(receive, send)

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        request = Exchange(scope, receive, send)
        request.head = RequestHead(scope, self._ids)
        self.recorder.open(request)
        error: BaseException | None = None
        try:
            if request.path in management.PUBLIC:
                request.public = True
                request.reach = UNLIMITED
                await self._manage(request)
            else:
                await self._route(request)
        except asyncio.CancelledError:
            # The server saw the caller go and gave the request up.
            error = CallerGone()
            raise
        except RequestError as known:
            error = known
            await self._fail(request, known)
        except Exception as unforeseen:
            error = unforeseen
            identity = request.head.request_id.decode("ascii")
            about = {"request_id": identity, "trace_id": request.trace_id.decode("ascii")}
            logger.exception("request %s failed", identity, extra=about)
            await self._fail(request, unforeseen)
        finally:
            self._close_books(request, error)

    async def _route(self, request: Exchange) -> None:
        """Authenticates and matches; everything but the public addresses comes by here."""
        directory = self._directory
        if directory is None:
            raise Draining("This router")
        request.directory = directory
        request.reach = reach = directory.authorize(request.head.authorization)
        request.key = reach.prefix
        route = directory.exact.get(request.path)
        if route is None:
            asked = directory.find_request(request.path, request.head.host, reach)
            if asked is not None:
                reach.demand(INFERENCE)
                await self._reply(request, await self._async_requests.at_id(request, asked))
                return
            route = directory.find(request.path, request.head.host, reach)
            if route is None:
                await self._elsewhere(request)
                return
        elif reach.limited:
            reach.demand_model(route.endpoint.model)
            reach.demand_environment(route.endpoint.name)
        await self._enter(request, route)

    async def _enter(self, request: Exchange, route: Route) -> None:
        """A target's own address."""
        request.endpoint = endpoint = route.endpoint
        request.reach.demand(INFERENCE)
        action = route.action
        if action in async_requests.ACTIONS:
            if action is Action.ASYNC_PREDICT:
                request.kind = SUBMIT
            await self._reply(request, await self._async_requests.at_target(request, route))
            return
        if action is Action.SYNC:
            if request.method in _UNROUTABLE:
                raise MethodNotAllowed(request.method, _SYNC_METHODS)
            request.operation = openai.OPERATIONS.get(route.path, "")
        else:
            request.demand_method("POST")
        if action is Action.WAKE:
            await endpoint.permits.wake()
            await self._reply(request, Answer(202))
            return
        request.kind = CALL
        deadline = request.deadline()
        body = await request.body(request.directory.table.max_body_bytes)
        await self._call(request, endpoint, route.path, body, deadline)

    async def _elsewhere(self, request: Exchange) -> None:
        """An address that names no target."""
        path = request.path
        if path in openai.PATHS:
            await self._shared(request)
        elif path == openai.MODELS_PATH:
            request.reach.demand(INFERENCE)
            request.demand_method("GET", "HEAD")
            names = openai.list_models(request.directory, request.reach)
            await self._reply(request, json_answer(names))
        elif path.startswith(management.PREFIX):
            await self._manage(request)
        else:
            raise UnknownAddress(path.decode("latin-1"))

    async def _shared(self, request: Exchange) -> None:
        """An OpenAI path: the body says which model is meant."""
        request.kind = CALL
        request.operation = openai.OPERATIONS[request.path]
        request.reach.demand(INFERENCE)
        request.demand_method("POST")
        deadline = request.deadline()
        body = await request.body(request.directory.table.max_body_bytes)
        name = openai.model_named(body.joined())
        request.endpoint = endpoint = request.directory.find_named(name, request.reach)
        await self._call(request, endpoint, request.path, body, deadline)

    async def _call(
        self,
        request: Exchange,
        endpoint: Endpoint,
        path: bytes,
        body: Body,
        deadline: tuple[float, str] | None,
    ) -> None:
        """Runs an admitted request on its environment."""
        query = request.query
        head = request.head
        lines = b""
        if head.trace is not None or head.baggage is not None:
            forward = request.directory.table.telemetry.forward_baggage
            lines = context_lines(head, forward_baggage=forward)
        request.life.admit()
        request.trail = trail = self.recorder.trail(request, endpoint, lines)
        request.call = call = Call(
            request,
            pool=self._pool,
            endpoint=endpoint,
            path=path + b"?" + query if query else path,
            body=body,
            deadline=deadline,
            says_id=self._says_id,
            trail=trail,
        )
        await call.run()

    async def _manage(self, request: Exchange) -> None:
        scope = {
            **request.scope,
            management.REACH: request.reach,
            management.REQUEST_ID: request.head.request_id,
        }
        await self._management(scope, request.receive, request.send_noting)
        request.life.end(Outcome.ANSWERED)

    async def _reply(self, request: Exchange, answer: Answer) -> None:
        """Sends an answer of the router's own."""
        request.status = answer.status
        request.bytes_out = len(answer.body)
        headers = own_headers(request.life, request.head.request_id, says_id=self._says_id)
        await send_answer(request.send, answer, headers, head=request.method == "HEAD")
        if request.life.state is State.RECEIVED and answer.status < 400:
            request.life.end(Outcome.ANSWERED)

    async def _fail(self, request: Exchange, error: Exception) -> None:
        """Tells the caller, in the way that is still open."""
        if request.life.committed:
            if request.call is not None and isinstance(error, RequestError):
                await request.call.cut(error, request.shape)
            # Returning without a last chunk makes the server cut the connection.
        elif not isinstance(error, CallerGone):
            await self._reply(request, error_answer(error, request.head.request_id, request.shape))

    def _close_books(self, request: Exchange, error: BaseException | None) -> None:
        """Every request ends here, in one outcome."""
        life = request.life
        if error is not None and life.state is not State.ENDED:
            life.end(outcome_of(error, life.attempts))
        call = request.call
        if error is not None:
            status, _ = status_of(error)
        else:
            status = request.status if call is None else call.status
        told = status
        if call is not None and call.status and status != CALLER_GONE_STATUS:
            # An answer that broke off had a good one.
            told = call.status
        self.recorder.close(request, error, told)
        if access_log.concerns(status, 0.0 if call is None else call.first_byte_s):
            access_log.write(
                method=request.method,
                path=request.path.decode("latin-1"),
                status=status,
                seconds=time.monotonic() - request.started,
                request_id=request.head.request_id,
                life=life,
                endpoint=request.endpoint,
                error=error,
                trace_id=request.trace_id,
                span_id=request.span_id,
            )


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    await send({"type": "websocket.close", "code": 1008, "reason": "not a websocket address"})
