"""A model that passes the trace context on that it got: the endpoint of the W3C's test suite.

The suite (https://github.com/w3c/trace-context, folder `test`) POSTs a JSON array
of `{"url", "arguments"}`, and wants each URL to be POSTed to, with `arguments` as
the body and the context of the request. It is pointed at
`/models/w3c/production/sync/test` of a cluster of `w3c.yaml`.
"""

import secrets
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

LIMIT = aiohttp.ClientTimeout(total=10)


class Propagating:
    """Believes the headers that the router gave it: what is wrong with them is seen outside.

    `POST /test` calls as the suite wants; `POST /headers` answers with the headers it got.
    """

    def __init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/test", _call, methods=["POST"]),
                Route("/headers", _headers, methods=["POST"]),
            ]
        )

    def predict(self, body: Any) -> Any:
        return body


async def _headers(request: Request) -> JSONResponse:
    return JSONResponse([[name, value] for name, value in request.headers.items()])


async def _call(request: Request) -> JSONResponse:
    async with aiohttp.ClientSession(timeout=LIMIT) as session:
        for wanted in await request.json() or []:
            async with session.post(
                wanted["url"], json=wanted["arguments"], headers=_context_of(request)
            ) as answer:
                await answer.read()
    return JSONResponse(None)


def _context_of(request: Request) -> list[tuple[str, str]]:
    """The context for one call: a span of its own in the trace that the model was called in."""
    context = [("tracestate", value) for value in request.headers.getlist("tracestate")]
    for value in request.headers.getlist("traceparent"):
        version, trace_id, _, flags = value.split("-")
        context.append(("traceparent", f"{version}-{trace_id}-{secrets.token_hex(8)}-{flags}"))
    return context
