"""All that is not inference: health, the API's description, management.

Starlette does the routing here; time does not matter. The caller has been
authenticated where that is needed, and what it may do lies in the scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router

from orchestrator.lifecycle.errors import (
    MethodNotAllowed,
    UnknownAddress,
    UnknownModel,
)
from orchestrator.router.auth import MANAGE, Reach
from orchestrator.router.body import collect
from orchestrator.router.openapi import describe_api
from orchestrator.router.oversight import Asked, Oversight
from orchestrator.router.responses import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from orchestrator.router.body import Receive
    from orchestrator.router.directory import Directory
    from orchestrator.router.durable import DurablePlane
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.oversight import Handler
    from orchestrator.router.responses import Send

PUBLIC: Final = frozenset({b"/healthz", b"/readyz", b"/openapi.json"})
"""Answered without a key."""

PREFIX: Final = b"/api/v1/"
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
    ) -> None:
        self._version = version
        self._directory = directory
        self._says_id = says_request_id
        self.draining = False
        oversight = Oversight(plane)
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
            )
            method = "GET" if request.method == "HEAD" else request.method
            return self._response(await handlers[method](asked), request)

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
        request_id: bytes = request.scope[REQUEST_ID]
        response.raw_headers = [
            *answer.headers,
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-baseten-request-id", request_id),
        ]
        if self._says_id:
            response.raw_headers.append((b"x-request-id", request_id))
        return response


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
