"""Models for the scenarios: each request says in its body what is to happen to it."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from tests.integration.gates import pass_gate


class Scripted:
    """Does what the body says; every answer names the process and the version.

    Bodies:
        {}                                  answers at once
        {"gate": g, "label": l}             answers when the test lets it pass gate g
        {"gate": g, "stream": n}            an event, then a gate before each of n - 1 more
        {"gate": g, "stream": n, "die": k}  the same, but its process is killed (SIGKILL)
                                            in place of event number k
        {"fail": n, "label": l}             fails the first n times that it gets this label
        {"say": text}                       prints a line, and answers
    Args:
        version: told with every answer; a change of it is a change of the deployment.
        load_gate: gate to pass while loading.
    """

    def __init__(self, *, version: int = 1, load_gate: str = "load") -> None:
        self._version = version
        self._load_gate = load_gate
        self._seen: Counter[str] = Counter()

    async def load(self) -> None:
        await pass_gate(self._load_gate)

    async def predict(self, body: dict[str, Any]) -> Any:
        if "stream" in body:
            return self._stream(body)
        if "gate" in body:
            await pass_gate(body["gate"], body.get("label", ""))
        if "say" in body:
            print(body["say"])
        label = body.get("label", "")
        self._seen[label] += 1
        if self._seen[label] <= body.get("fail", 0):
            raise ArithmeticError(f"{label}: time {self._seen[label]} is one to fail")
        return self._answer(body)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"pid": os.getpid(), "version": self._version, "label": body.get("label", "")}

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for number in range(body["stream"]):
            if number:
                await pass_gate(body["gate"], f"event {number}")
            if number == body.get("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield {"event": number, "pid": os.getpid()}


class FailsToLoad:
    """Says something on the way to its failure, as a model with broken weights does."""

    def load(self) -> None:
        raise OSError("weights.bin is truncated at byte 4096")

    def predict(self, body: Any) -> Any:
        return body


class NeverLoads:
    """Is still loading when its time is up."""

    async def load(self) -> None:
        await asyncio.Event().wait()

    def predict(self, body: Any) -> Any:
        return body
