"""The no-op model: what the job is to the peers."""

import asyncio
import time
from typing import Any


class Started:
    """Answers with when it was called, on the clock that all processes of a machine share.

    Args:
        seconds: how long it then takes to answer.
    """

    def __init__(self, *, seconds: float = 0.0) -> None:
        self._seconds = seconds

    async def predict(self, _body: Any) -> dict[str, float]:
        """``{"started": <seconds>}``."""
        started = time.monotonic()
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return {"started": started}
