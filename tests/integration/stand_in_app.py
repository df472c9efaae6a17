"""Small Serve applications to start a cluster with, in place of the real ones."""

import os
import subprocess
import sys
from typing import Any

from ray import serve

CHILD = "import signal, sys; print('up', flush=True); signal.pause()"


class FrontDoor:
    """Answers /readyz, /pid and /greeting over ASGI; keeps a child process if told to."""

    def __init__(self, child: bool) -> None:
        self.greeting = ""
        self.child: subprocess.Popen[bytes] | None = None
        if child:
            # Its own session and an empty environment: as far from its parent as
            # a process gets, so that only the process tree tells whose it is.
            self.child = subprocess.Popen(
                [sys.executable, "-c", CHILD], env={}, start_new_session=True
            )

    def reconfigure(self, config: dict[str, Any]) -> None:
        self.greeting = config["greeting"]

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import JSONResponse  # noqa: PLC0415

        child = None if self.child is None else self.child.pid
        return JSONResponse({"pid": os.getpid(), "greeting": self.greeting, "child": child})


def build_app(args: dict[str, Any]) -> serve.Application:
    """What a plan's `import_path` names."""
    if args.get("broken"):
        raise RuntimeError("this application is broken on purpose")
    application: serve.Application = serve.deployment(name="Router")(FrontDoor).bind(
        bool(args.get("child"))
    )
    return application


def serve_config(
    port: int, *, greeting: str = "hello", broken: bool = False, child: bool = False
) -> dict[str, Any]:
    """A `ServeDeploySchema` dict with the stand-in as the router's application."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": "router",
                "route_prefix": "/",
                "import_path": "tests.integration.stand_in_app:build_app",
                "args": {"broken": broken, "child": child},
                "deployments": [{"name": "Router", "user_config": {"greeting": greeting}}],
            }
        ],
    }
