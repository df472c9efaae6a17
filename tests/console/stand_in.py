"""The page with an API beside it that makes its answers up: any number of environments.

For what a real cluster on one machine cannot show (1,000 environments, 10,000 recent
requests, a stream of events that breaks), and for work on the page:

    python -m tests.console.stand_in --environments 1000 --port 8099

The key is `demo.key`.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator import console
from tests.console import made_up

KEY = "demo.key"


@dataclass
class StandIn:
    """What it plays.

    Attributes:
        environments: how many.
        requests: how many recent ones.
        streams: events that are open; `cut` ends them.
    """

    environments: int = 3
    requests: int = 200
    seed: int = 7
    letters: int = 3
    rows: list[dict[str, Any]] = field(default_factory=list)
    version: int = 1
    replayed: list[str] = field(default_factory=list)
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    refuses_streams: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.rows = [
            made_up.environment(self.random, number) for number in range(self.environments)
        ]
        self.recent = [
            made_up.summary(self.random, number, self.rows[number % len(self.rows)])
            for number in range(self.requests)
        ]
        self.dead = [f"{number:012x}dead" for number in range(self.letters)]

    # What it tells
    def tick(self) -> list[dict[str, Any]]:
        """Moves on by a step and gives the rows that changed."""
        self.version += 1
        changed = [row for row in self.rows if row["status"] == "ACTIVE"][:200]
        for row in changed:
            value = made_up.wave(self.random, row["requests_per_s"] or 1.0, self.version)
            row["requests_per_s"] = value = min(value, 900.0)
            row["spark"] = {
                name: [*values[1:], value if name == "requests" else values[0]]
                for name, values in row["spark"].items()
            }
            row["in_flight"] = self.random.randint(0, max(row["slots"], 1))
        return changed

    # Over HTTP

    def application(self) -> Starlette:
        """Page and API."""
        api = "/api/v1"
        place = f"{api}/models/{{model}}/environments/{{environment}}"
        routes = [
            ("GET", "/console", page),
            ("GET", "/console/{file:path}", page),
            ("GET", f"{api}/events", self._events),
            ("GET", f"{api}/overview", self._overview),
            ("GET", f"{api}/models", self._models),
            ("GET", f"{api}/models/{{model}}", self._model),
            ("GET", place, self._environment),
            ("GET", f"{place}/history", self._history),
            ("GET", f"{place}/logs", self._logs),
            ("GET", f"{api}/requests", self._requests),
            ("GET", f"{api}/requests/{{id}}/timeline", self._timeline),
            ("GET", f"{api}/async_requests", self._async),
            ("GET", f"{api}/dead_letters", self._letters),
            ("POST", f"{api}/dead_letters/replay", self._replay_all),
            ("GET", f"{api}/dead_letters/{{id}}", self._letter),
            ("POST", f"{api}/dead_letters/{{id}}/replay", self._replay),
        ]
        return Starlette(
            routes=[
                Route(
                    path, self._guarded(handler) if path.startswith(api) else handler, methods=[m]
                )
                for m, path, handler in routes
            ]
        )

    def _guarded(self, handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {KEY}":
                return JSONResponse({"error": "a valid API key is needed"}, 401)
            answered: Response = await handler(request)
            return answered

        return answer

    def _update(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": self.version,
            "now": time.time(),
            "environments": rows,
            "gone": [],
            "full": len(rows) == len(self.rows),
        }

    async def _overview(self, request: Request) -> Response:
        return JSONResponse(self._update(self.rows))

    async def _events(self, request: Request) -> Response:
        if self.refuses_streams:
            return JSONResponse({"error": "100 clients follow this router's events already"}, 429)

        async def stream() -> AsyncIterator[str]:
            rows = self.rows
            self.cut.clear()
            while not self.cut.is_set():
                yield f"event: overview\ndata: {json.dumps(self._update(rows))}\n\n: \n\n"
                try:
                    async with asyncio.timeout(1):
                        await self.cut.wait()
                except TimeoutError:
                    rows = self.tick()

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"models": []})

    async def _model(self, request: Request) -> Response:
        rows = [row for row in self.rows if row["model"] == request.path_params["model"]]
        names = [{"name": r["environment"], "deployment": r["deployment"]} for r in rows]
        return JSONResponse(
            {
                "name": rows[0]["model"],
                "production_deployment": rows[0]["deployment"],
                "deployments": sorted({row["deployment"] for row in rows} | {"v0"}),
                "environments": names,
            }
        )

    async def _environment(self, request: Request) -> Response:
        return JSONResponse(made_up.SETTINGS)

    async def _history(self, request: Request) -> Response:
        return JSONResponse(made_up.history(self.random))

    async def _logs(self, request: Request) -> Response:
        return Response(made_up.log(), media_type="application/x-ndjson")

    async def _requests(self, request: Request) -> Response:
        query = request.query_params
        found = [
            each
            for each in self.recent
            if query.get("model") in (None, each["model"])
            and query.get("environment") in (None, each["environment"])
            and query.get("outcome") in (None, each["outcome"])
            and ("errors" not in query or each["status"] >= 499)
            and ("cold" not in query or each["cold_start"])
            and ("retried" not in query or each["attempts"] > 1)
        ]
        return JSONResponse({"requests": found, "routers": 2, "missing": 0})

    async def _timeline(self, request: Request) -> Response:
        request_id = request.path_params["id"]
        if request_id.startswith("unknown"):
            return JSONResponse({"error": f"no request {request_id} is known"}, 404)
        return JSONResponse(made_up.timeline(request_id))

    async def _async(self, request: Request) -> Response:
        found = made_up.asynchronous(request.query_params.get("status"))
        return JSONResponse({"async_requests": found, "cursor": None})

    async def _letters(self, request: Request) -> Response:
        return JSONResponse(
            {"dead_letters": [made_up.letter(each) for each in self.dead], "cursor": None}
        )

    async def _letter(self, request: Request) -> Response:
        return JSONResponse(made_up.letter_in_full(request.path_params["id"]))

    async def _replay(self, request: Request) -> Response:
        self.dead.remove(request.path_params["id"])
        self.replayed.append(request.path_params["id"])
        return JSONResponse({"request_id": request.path_params["id"], "replayed": True})

    async def _replay_all(self, request: Request) -> Response:
        self.replayed += self.dead
        amount, self.dead = len(self.dead), []
        return JSONResponse({"replayed": amount})


async def page(request: Request) -> Response:
    """The console's files, as the router serves them."""
    found = console.page(request.url.path, request.headers.get("if-none-match", ""))
    if found is None:
        return Response(status_code=404)
    status, headers, body = found
    response = Response(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response


@contextmanager
def running(stand_in: StandIn, port: int = 0) -> Iterator[str]:
    """Serves it from a thread; gives its URL."""
    config = uvicorn.Config(
        stand_in.application(), "127.0.0.1", port, log_level="warning", ws="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    # Now: the server does so from its thread, which may come to it after the first visitor.
    listener.listen()
    thread = Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stand_in.cut.set()
        server.force_exit = True
        server.should_exit = True
        thread.join()
        listener.close()


def main() -> None:
    """Serves it until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--port", type=int, default=8099)
    given = parser.parse_args()
    stand_in = StandIn(given.environments, given.requests)
    uvicorn.run(stand_in.application(), port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
