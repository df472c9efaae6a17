"""A model that answers with what it was sent."""

from __future__ import annotations

import asyncio
from typing import Any


class Echo:
    """Returns the body unchanged.

    Args:
        seconds: how long each answer takes; it does not block other requests.
        load_seconds: how long `load` takes.
    """

    def __init__(self, *, seconds: float = 0.0, load_seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._load_seconds = load_seconds

    async def load(self) -> None:
        """Waits as long as it was told to."""
        await asyncio.sleep(self._load_seconds)

    async def predict(self, body: Any) -> Any:
        """The body, after the set delay."""
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return body
