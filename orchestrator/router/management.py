"""All that is not inference: health, the API's description, management.

Starlette does the routing here; time does not matter. The caller has been
authenticated where that is needed, and what it may do lies in the scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router

from orchestrator import console
from orchestrator.lifecycle.errors import (
    MethodNotAllowed,
    UnknownAddress,
    UnknownModel,
)
from orchestrator.router.auth import MANAGE, Reach
from orchestrator.router.body import collect
from orchestrator.router.insight import Insight
from orchestrator.router.openapi import describe_api
from orchestrator.router.oversight import Asked, Oversight
from orchestrator.router.responses import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from orchestrator.observatory.protocol import Observatory
    from orchestrator.router.body import Receive
    from orchestrator.router.directory import Directory
    from orchestrator.router.durable import DurablePlane
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.responses import Send
    from orchestrator.router.streaming import Stream

    Handler = Callable[[Asked], Awaitable[Answer | Stream]]

PUBLIC: Final = frozenset(
    {b"/healthz", b"/readyz", b"/openapi.json", *(path.encode() for path in console.paths())}
)
"""Answered without a key."""

PREFIX: Final = (b"/api/v1/", b"/metrics", b"/console")
"""Of all paths that are answered here, but for those of health and of the description."""

REACH: Final = "orchestrator.reach"
REQUEST_ID: Final = "orchestrator.request_id"

_MAX_BODY_BYTES: Final = 64 * 1024


class Management:
    """The ASGI application for them; `REACH` and `REQUEST_ID` must be in the scope.

    Attributes:
        draining: whether `/readyz` says no.
    """

    def __init__(
        self,
        version: str,
        directory: Callable[[], Directory | None],
        plane: DurablePlane,
        *,
        says_request_id: bool,
        observatory: Callable[[], Observatory | None] = lambda: None,
    ) -> None:
        self._version = version
        self._directory = directory
        self._says_id = says_request_id
        self.draining = False
        oversight = Oversight(plane)
        self._insight = insight = Insight(observatory, directory, plane)
        # The router alone and not an application: that one answers errors itself,
        # and here they go on to where all errors are answered.
        self._router = Router(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/openapi.json", self._openapi),
                Route("/api/v1/models", self._models),
                Route("/api/v1/models/{model}", self._model),
                Route("/api/v1/models/{model}/environments/{environment}", self._environment),
                *(
                    Route(f"/api/v1{path}", self._overseen(handlers), methods=list(handlers))
                    for path, handlers in oversight.operations.items()
                ),
                *(
                    Route(path, self._overseen(handlers), methods=list(handlers))
                    for path, handlers in insight.operations.items()
                ),
                Route(console.PATH, self._console),
                Route(f"{console.PATH}/{{file:path}}", self._console),
            ],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI; raises `RequestError` for what it refuses, before it has sent anything."""
        scope["app"] = self  # with one, Starlette raises its refusals
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            if error.status_code == 405:
                allowed = (error.headers or {}).get("Allow", "GET").replace(" ", "")
                raise MethodNotAllowed(scope["method"], sorted(allowed.split(","))) from None
            raise UnknownAddress(scope["path"]) from None

    def drain(self) -> None:
        """The router is going: says so, and ends what would never end by itself."""
        self.draining = True
        self._insight.end()

    async def _console(self, request: Request) -> Response:
        path: str = request.scope["path"]
        found = console.page(path, request.headers.get("if-none-match", ""))
        if found is None:
            raise UnknownAddress(path)
        status, headers, body = found
        return self._response(Answer(status, body, headers), request)

    async def _healthz(self, request: Request) -> Response:
        return self._response(json_answer({"status": "ok"}), request)

    async def _readyz(self, request: Request) -> Response:
        if self.draining:
            return self._response(json_answer({"status": "draining"}, 503), request)
        if self._directory() is None:
            return self._response(json_answer({"status": "starting"}, 503), request)
        return self._response(json_answer({"status": "ready"}), request)

    async def _openapi(self, request: Request) -> Response:
        directory = self._directory()
        table = None if directory is None else directory.table
        return self._response(json_answer(describe_api(self._version, table)), request)

    async def _models(self, request: Request) -> Response:
        directory, reach = self._managed(request)
        models = [_model_read(directory, name, reach) for name in directory.models(reach)]
        return self._response(json_answer({"models": models}), request)

    async def _model(self, request: Request) -> Response:
        directory, reach = self._managed(request)
        name = request.path_params["model"]
        reach.demand_model(name)
        if name not in directory.table.models:
            raise UnknownModel(name, directory.models(reach))
        return self._response(json_answer(_model_read(directory, name, reach)), request)

    async def _environment(self, request: Request) -> Response:
        directory, reach = self._managed(request)
        names = request.path_params
        endpoint = directory.environment(names["model"], names["environment"], reach)
        live = await endpoint.permits.describe()
        return self._response(json_answer(_environment_read(endpoint, live)), request)

    def _overseen(
        self, handlers: Mapping[str, Handler]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            directory, reach = self._managed(request)
            asked = Asked(
                directory,
                reach,
                query=request.scope["query_string"],
                name=request.path_params.get("id", ""),
                body=(await collect(request.receive, None, _MAX_BODY_BYTES)).joined(),
                place=(
                    request.path_params.get("model", ""),
                    request.path_params.get("environment", ""),
                ),
                accept=request.headers.get("accept", ""),
            )
            method = "GET" if request.method == "HEAD" else request.method
            found = await handlers[method](asked)
            if isinstance(found, Answer):
                return self._response(found, request)
            if request.method == "HEAD":
                await found.pieces.aclose()
                return self._response(
                    Answer(200, b"", [(b"content-type", found.content_type)]), request
                )
            return _Streamed(found, self._own_headers(request))

        return answer

    def _managed(self, request: Request) -> tuple[Directory, Reach]:
        reach: Reach = request.scope[REACH]
        reach.demand(MANAGE)
        directory = self._directory()
        if directory is None:
            raise UnknownAddress(request.url.path)
        return directory, reach

    def _response(self, answer: Answer, request: Request) -> Response:
        response = Response(answer.body, answer.status)
        response.raw_headers = [
            *answer.headers,
            (b"content-length", b"%d" % len(answer.body)),
            *self._own_headers(request),
        ]
        return response

    def _own_headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        request_id: bytes = request.scope[REQUEST_ID]
        headers = [(b"x-baseten-request-id", request_id)]
        if self._says_id:
            headers.append((b"x-request-id", request_id))
        return headers


class _Streamed(Response):
    """A stream, as Starlette calls an answer."""

    def __init__(self, stream: Stream, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._stream = stream
        self._headers_of_ours = headers

    async def __call__(self, _scope: Any, receive: Receive, send: Send) -> None:
        await self._stream.send(receive, send, self._headers_of_ours)


def _model_read(directory: Directory, name: str, reach: Reach) -> dict[str, Any]:
    model = directory.table.models[name]
    environments = directory.environments(name, reach)
    production = model.environments.get("production")
    return {
        "id": name,
        "name": name,
        "description": model.description,
        "production_deployment": None
        if production is None or "production" not in environments
        else production.deployment,
        "deployments": sorted({model.environments[each].deployment for each in environments}),
        "environments": [
            {"name": each, "deployment": model.environments[each].deployment}
            for each in environments
        ],
    }


def _environment_read(endpoint: Endpoint, live: dict[str, Any]) -> dict[str, Any]:
    settings = endpoint.settings
    return {
        "name": endpoint.name,
        "model": endpoint.model,
        "deployment": settings.deployment,
        "runner": settings.runner,
        "autoscaling": settings.autoscaling,
        "queue": settings.queue,
        "timeouts": settings.timeouts,
        "retry": settings.retry,
        "status": live.get("status"),
        "live": live,
    }
