"""Two composed deployments on Ray Serve, the shape that its documentation teaches.

``python -m tests.benchmarks.servers.ray_serve_composition PORT``: an ingress deployment takes
the request and calls the model deployment by handle. Settings of Ray Serve come from the
environment, where it reads them at import.
"""

import signal
import sys
import threading
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

# Both deployments are light and the machine may have two cores; none of them must wait.
LOGICAL_CPUS = 4
# Serve's default of 5 would make most of 64 connections wait.
ONGOING_REQUESTS = 128


class Model:
    """Gives the request back."""

    async def predict(self, payload: Any) -> Any:
        """The decoded JSON body, unchanged."""
        return payload


class Ingress:
    """Takes HTTP and calls the model by handle."""

    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._model = model

    async def __call__(self, request: Request) -> Any:
        """JSON in, JSON out."""
        return await self._model.predict.remote(await request.json())


def main() -> None:
    """Serve from a private local cluster until SIGTERM or SIGINT, then end the cluster."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # `local` makes a new cluster even where another one runs on this machine.
    ray.init(
        address="local",
        num_cpus=LOGICAL_CPUS,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
    )
    try:
        serve.start(
            http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[1])),
            # No access log: no system here writes one.
            logging_config=LoggingConfig(enable_access_log=False),
        )
        deployment = serve.deployment(max_ongoing_requests=ONGOING_REQUESTS)
        serve.run(
            deployment(Ingress).bind(deployment(Model).bind()),
            name="echo",
            route_prefix="/",
            logging_config=LoggingConfig(enable_access_log=False),
        )
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
