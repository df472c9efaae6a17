"""A model whose every run can be told from every other."""

import asyncio
import os
from typing import Any

WORK_S = 0.05


class Once:
    """Answers with the number it was sent, and with a word of this very run's own.

    Two results that were reported for one request would differ in that word.
    """

    async def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(WORK_S)
        if body.get("fail"):
            raise RuntimeError("told to fail")
        return {"number": body["number"], "run": os.urandom(8).hex()}
