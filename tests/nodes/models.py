"""Models of the scenarios on several nodes."""

import asyncio
import os
from typing import Any

from tests.integration.gates import pass_gate

WORK_S = 0.05


class Numbered:
    """Answers with the number it was sent, its process, and a word of this very run's own.

    Two results that were reported for one request would differ in that word.

    Bodies:
        {"number": n}             answers after a moment
        {"number": n, "gate": g}  answers when the test lets it pass gate g
    """

    async def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        if "gate" in body:
            await pass_gate(body["gate"], str(body["number"]))
        else:
            await asyncio.sleep(WORK_S)
        return {"number": body["number"], "pid": os.getpid(), "run": os.urandom(8).hex()}
