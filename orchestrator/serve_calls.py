"""Calls to a Serve deployment, each with a deadline.

A Serve handle waits for a replica to appear where there is none; every call here
gives up instead, since what is called may be restarting and its callers have other
things to do meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle


class ServeCalls:
    """The way to one deployment, by its name; used on one event loop.

    A deployment that is one replica may be on a machine that vanished: until Ray has
    noticed, which `RAY_health_check_*` bound, each call gives up in its time; then the
    handle hears of the replica that took its place.
    """

    def __init__(
        self, deployment: str, application: str, called: str, unavailable: type[Exception]
    ) -> None:
        """Nothing is looked up before the first call.

        Args:
            deployment: its name.
            application: name of its application.
            called: what errors call it.
            unavailable: what is raised where a call was not answered.
        """
        self._names = (deployment, application)
        self._called = called
        self._unavailable = unavailable
        self._handle: DeploymentHandle[Any] | None = None

    async def __call__(self, method: str, timeout_s: float, *arguments: object) -> Any:
        """What the method returns; raises `unavailable` where that is not known in time."""
        # Ray is imported where it is used: what talks through this is tested without it.
        from grpc.aio import AioRpcError  # noqa: PLC0415
        from ray.exceptions import RayError  # noqa: PLC0415
        from ray.serve.exceptions import RayServeException  # noqa: PLC0415

        response = None
        try:
            async with asyncio.timeout(timeout_s):
                response = getattr(self._connected(), method).remote(*arguments)
                return await response
        except TimeoutError:
            if response is not None:
                response.cancel()
            message = f"{self._called}: no answer to {method} in {timeout_s:g} s"
            raise self._unavailable(message) from None
        except (RayError, RayServeException, AioRpcError) as error:
            raise self._unavailable(f"{self._called}: {error}") from error

    def _connected(self) -> DeploymentHandle[Any]:
        if self._handle is None:
            from ray import serve  # noqa: PLC0415

            # To look whether it exists, Serve would ask its controller and block this loop
            # meanwhile, for as long as that may be away.
            self._handle = serve.get_deployment_handle(*self._names, _check_exists=False)
        return self._handle
