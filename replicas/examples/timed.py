"""A model that takes as long as each request says: for traces whose times are known."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from replicas import InvalidInput


class Timed:
    """Answers `{"service_seconds": s}` after `s` seconds, where `s` is of the request's body.

    Args:
        load_seconds: how long `load` takes.
    """

    def __init__(self, *, load_seconds: float = 0.0) -> None:
        self._load_seconds = load_seconds

    async def load(self) -> None:
        """Waits as long as it was told to."""
        await asyncio.sleep(self._load_seconds)

    async def predict(self, body: Any) -> dict[str, float]:
        """Sleeps, which keeps a slot and no processor.

        Raises:
            InvalidInput: the body has no such time.
        """
        seconds = _seconds(body.get("service_seconds") if isinstance(body, dict) else None)
        await asyncio.sleep(seconds)
        return {"service_seconds": seconds}


def _seconds(given: Any) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or given < 0:
        raise InvalidInput(f"service_seconds must be a number of seconds ≥ 0, not {given!r}")
    return float(given)
