"""Synchronous and asynchronous requests that go on while something happens to the cluster."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tests.integration.running_cluster import eventually

if TYPE_CHECKING:
    from tests.chaos.receiver import Receiver
    from tests.nodes.cluster import NodesCluster

MODEL = "seated"
TARGET = f"/models/{MODEL}/environments/production"
CALLERS = 4
SUBMITTERS = 2
PAUSE_S = 0.05
"""Between two submissions; what is submitted has to be run, too."""
DEADLINE_S = 60.0
"""What each synchronous request allows, and how long an asynchronous one may take to be accepted:
a silence counts after ten seconds, and then a router, a dispatcher and a queue start elsewhere,
each a new process, at the same time and on the same cores as all of the cluster."""
CALL_S = 10.0
END_S = 90.0
"""How long all that was accepted may take to end, once nothing more is submitted."""
FINAL = {"SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"}


@dataclass(frozen=True)
class Answer:
    """What came of one synchronous request.

    Attributes:
        began: when it was sent, in seconds of `time.monotonic`.
        seconds: that it took.
        problem: what was wrong with the answer; empty: nothing.
    """

    began: float
    seconds: float
    problem: str


class Load:
    """An async context manager: requests are made while it is entered, and end with it.

    Args:
        cluster: serves them.
        receiver: gets the results of the asynchronous ones.

    Attributes:
        answers: of the synchronous requests, as they came.
        accepted: numbers of the asynchronous requests, by the ids that they were given.
        statuses: how these ended, by id; known once the load has ended.
    """

    def __init__(self, cluster: NodesCluster, receiver: Receiver) -> None:
        self.answers: list[Answer] = []
        self.accepted: dict[str, int] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self._cluster = cluster
        self._receiver = receiver
        self._numbers = itertools.count()
        self._run = os.urandom(6).hex()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            *(asyncio.create_task(self._call()) for _ in range(CALLERS)),
            *(asyncio.create_task(self._submit()) for _ in range(SUBMITTERS)),
        ]
        await self.go_on(20)
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._stopping.set()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            return
        await asyncio.gather(*self._tasks)
        await self._await_ends()

    async def go_on(self, count: int) -> None:
        """Waits until so many more were answered, and so many more were accepted."""
        answered, accepted = len(self.answers) + count, len(self.accepted) + count

        async def enough() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return len(self.answers) >= answered and len(self.accepted) >= accepted

        await eventually(enough, f"{count} more requests answered and accepted")

    def faults(self) -> list[str]:
        """Every promise that was broken, as a sentence."""
        failed = [answer for answer in self.answers if answer.problem]
        faults = [f"synchronous, after {a.seconds:.1f} s: {a.problem}" for a in failed]
        late = [answer.seconds for answer in self.answers if answer.seconds > DEADLINE_S]
        if late:
            faults.append(f"{len(late)} synchronous answers late, the worst {max(late):.1f} s")
        for id_, number in self.accepted.items():
            status = self.statuses.get(id_)
            if status is None or status["status"] != "SUCCEEDED":
                faults.append(f"asynchronous {number}: {status}")
            elif status["result"]["number"] != number:
                faults.append(f"asynchronous {number} got the result of {status['result']}")
            elif (told := self._told(id_)) != [status["result"]]:
                faults.append(f"asynchronous {number}: {status['result']} was delivered as {told}")
        return faults

    def __str__(self) -> str:
        seconds = sorted(answer.seconds for answer in self.answers)
        faults = self.faults()
        summary = (
            f"synchronous {len(seconds)}, median {seconds[len(seconds) // 2]:.2f} s, "
            f"longest {seconds[-1]:.2f} s; asynchronous {len(self.accepted)}"
        )
        return "\n".join([summary, *faults[:20]])

    def _told(self, id_: str) -> list[Any]:
        """The different results that were delivered for a request."""
        told: list[Any] = []
        for body in self._receiver.bodies.get(id_, ()):
            data = json.loads(body)["data"]
            if data not in told:
                told.append(data)
        return told

    # Synchronous

    async def _call(self) -> None:
        while not self._stopping.is_set():
            number, began = next(self._numbers), time.monotonic()
            problem = await self._problem(number)
            self.answers.append(Answer(began, time.monotonic() - began, problem))

    async def _problem(self, number: int) -> str:
        try:
            reply = await self._cluster.predict(
                MODEL,
                {"number": number},
                headers={"request-timeout-ms": str(int(DEADLINE_S * 1000))},
                timeout=aiohttp.ClientTimeout(total=DEADLINE_S + CALL_S),
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        if reply.status != 200:
            return f"{reply.status} {reply.body[:300]!r}"
        return "" if reply.json["number"] == number else f"the answer of another: {reply.json}"

    # Asynchronous

    async def _submit(self) -> None:
        while not self._stopping.is_set():
            number = next(self._numbers)
            id_ = await self._accepted(number)
            self.accepted[id_] = number
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._stopping.wait()

    async def _accepted(self, number: int) -> str:
        """Repeats one submission, under one idempotency key, until it is accepted."""
        body = {
            "model_input": {"number": number},
            "webhook_endpoint": f"{self._receiver.url}/ok",
            "inference_retry_config": {"max_attempts": 10, "initial_delay_ms": 50},
        }
        headers = {"idempotency-key": f"{self._run}-{number}"}

        async def probe() -> str | None:
            path = f"{TARGET}/async_predict"
            reply = await self._asked("POST", path, json=body, headers=headers)
            return None if reply is None else str(reply["request_id"])

        return await eventually(probe, f"{number} is accepted", seconds=DEADLINE_S)

    async def _await_ends(self) -> None:
        waiting = set(self.accepted)

        async def all_ended() -> bool:
            for id_ in sorted(waiting):
                status = await self._asked("GET", f"/async_request/{id_}")
                if status is None:
                    return False
                ended = status["status"] in FINAL and status["webhook_status"] != "PENDING"
                self.statuses[id_] = status
                if ended:
                    waiting.discard(id_)
            return not waiting

        with suppress(AssertionError):  # what has not ended is among the faults
            await eventually(all_ended, "everything that was accepted ends", seconds=END_S)

    async def _asked(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """A good answer, or None."""
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        with suppress(aiohttp.ClientError, TimeoutError):
            reply = await self._cluster.ask(method, path, timeout=timeout, **options)
            if reply.status in (200, 201):
                found: dict[str, Any] = reply.json
                return found
            assert reply.status >= 500, (reply.status, reply.body)
        return None
