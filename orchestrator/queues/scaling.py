"""The bridge between an environment's queue and Serve's controller, which starts replicas.

Serve makes one `DesiredReplicas` per deployment inside its controller and calls
it in the controller's loop every 0.1 s, so it must not block: a daemon thread
asks the queue and leaves the last answer here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from orchestrator.queues.handle import QueueHandle, QueueUnavailable

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

logger = logging.getLogger("ray.serve")

RETRY_S = 0.2


class DesiredReplicas:
    """A Serve autoscaling policy that does what the environment's queue decided.

    Args:
        application: name of the environment's Serve application.
    """

    def __init__(self, application: str) -> None:
        self.application = application
        self._answer: tuple[int, bool] | None = None
        self._asking: threading.Thread | None = None

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """The number of replicas, for Serve; keeps what there is until the queue has spoken."""
        if self._asking is None:
            self._asking = threading.Thread(
                target=self._run, name=f"desired-{self.application}", daemon=True
            )
            self._asking.start()
        if self._answer is None:
            return ctx.target_num_replicas, {}
        desired, settled = self._answer
        # A queue that was just restarted may not know of all that is there.
        return (desired if settled else max(desired, ctx.target_num_replicas)), {}

    def _run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        queue = QueueHandle(self.application)
        while True:
            try:
                self._answer = await queue.desired(self._answer)
            except QueueUnavailable as error:
                logger.debug("%s", error)
                self._answer = None
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Not to end the thread: nothing would scale until the controller is restarted.
                logger.exception("asking the queue of %s failed", self.application)
                await asyncio.sleep(RETRY_S)
