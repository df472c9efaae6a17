"""A web application that knows nothing of the system, for the `command` runner.

It starts a child of its own that ignores SIGTERM, as careless servers do.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"


@asynccontextmanager
async def lifespan(served: Starlette) -> AsyncIterator[None]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STUBBORN), start_new_session=True
    )
    served.state.child = child.pid
    yield
    child.kill()
    await child.wait()


async def health(_request: Request) -> Response:
    return Response()


async def predict(request: Request) -> Response:
    return JSONResponse({"you_sent": await request.json()}, headers={"x-served-by": "plain"})


async def pids(request: Request) -> Response:
    return JSONResponse([os.getpid(), request.app.state.child])


async def greet(request: Request) -> Response:
    return Response(f"hello {request.path_params['name']} {request.url.query}".encode())


app = Starlette(
    routes=[
        Route("/alive", health),
        Route("/invocations", predict, methods=["POST"]),
        Route("/pids", pids),
        Route("/greet/{name}", greet),
    ],
    lifespan=lifespan,
)
