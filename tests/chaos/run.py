"""One chaos run: requests are submitted and run while parts of the cluster are killed.

It ends with a ledger that must add up: what was accepted has ended, in one way, and
its webhook was delivered or is a dead letter.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from redis import asyncio as redis

from orchestrator.cluster import processes
from orchestrator.cluster.processes import ProcessId
from tests.chaos.ledger import Ledger
from tests.chaos.receiver import Receiver
from tests.integration.running_cluster import RunningCluster, eventually

HERE = Path(__file__).parent
MODEL = "once"
TARGET = f"/models/{MODEL}/production"
ENVIRONMENT = f"{MODEL}.production"

SUBMITTERS = 32
RATE = 50.0
"""Submissions per second: slow enough that parts die while others are on their way."""
GIVE_UP_S = 120.0
"""How long one submission, or one question about a request, is repeated."""
CALL_S = 10.0
KILL_PAUSE_S = 1.0
OUTAGE_S = 30.0
"""How long the store does not answer in an outage."""
QUIET_S = 180.0
"""How long everything may take to come to its end after the last submission."""

Finders = dict[str, Callable[[RunningCluster], Sequence[ProcessId]]]


def _store(cluster: RunningCluster) -> list[ProcessId]:
    return cluster.below(lambda command: "valkey-server" in command or "redis-server" in command)


PARTS: Finders = {
    "router": lambda cluster: cluster.routers()[:1],
    "dispatcher": lambda cluster: cluster.dispatchers()[:1],
    "queue": lambda cluster: cluster.queues(ENVIRONMENT),
    "replica": lambda cluster: cluster.replicas(ENVIRONMENT)[:1],
    "store": _store,
}
OUTAGE = "outage"
"""Not a kill: the store is stopped for a while, and goes on as if nothing had been."""


def everything(cluster: RunningCluster) -> list[ProcessId]:
    """All parts of each kind."""
    return [
        *cluster.routers(),
        *cluster.dispatchers(),
        *cluster.queues(ENVIRONMENT),
        *cluster.replicas(ENVIRONMENT),
        *_store(cluster),
    ]


class ChaosRun:
    """Submits, kills, waits for the end, and adds up.

    Args:
        cluster: a running one, from this folder's cluster.yaml.
        receiver: of its webhooks.
        requests: how many to submit.
    """

    def __init__(self, cluster: RunningCluster, receiver: Receiver, requests: int) -> None:
        self._cluster = cluster
        self._receiver = receiver
        self._requests = requests
        self._numbers: Iterator[int] = itertools.count()
        self._began = time.monotonic()
        self.ledger = Ledger(bodies=receiver.bodies)

    async def run(self, kills: Sequence[str]) -> Ledger:
        """Submits all requests, killing the named parts one after the other meanwhile.

        Args:
            kills: names of `PARTS`, "all" for all of them at once, or `OUTAGE`.
        """
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTERS):
                tasks.create_task(self._submit_until_done())
            tasks.create_task(self._kill(kills))
        await self._await_ends()
        await self._look_into_store()
        self.ledger.forged = self._receiver.forged
        self.ledger.seconds = time.monotonic() - self._began
        return self.ledger

    # Submitting

    async def _submit_until_done(self) -> None:
        while (number := next(self._numbers)) < self._requests:
            await asyncio.sleep(self._began + number / RATE - time.monotonic())
            request_id = await self._submit(number)
            self.ledger.accepted.append(request_id)
            if number % 25 == 7:
                await self._cancel(request_id)

    async def _submit(self, number: int) -> str:
        """Repeats one submission, under one idempotency key, until it is accepted."""
        manner = "gone" if number % 50 == 11 else "flaky" if number % 10 == 3 else "ok"
        body = {
            "model_input": {"number": number, "fail": number % 40 == 5},
            "webhook_endpoint": f"{self._receiver.url}/{manner}",
            "priority": number % 3,
            "inference_retry_config": {"max_attempts": 10, "initial_delay_ms": 50},
        }
        headers = {"idempotency-key": f"chaos-{self._began}-{number}"}

        async def accepted() -> str | None:
            self.ledger.submissions += 1
            reply = await self._ask("POST", f"{TARGET}/async_predict", json=body, headers=headers)
            return None if reply is None else str(reply["request_id"])

        return await eventually(accepted, f"request {number} is accepted", seconds=GIVE_UP_S)

    async def _cancel(self, request_id: str) -> None:
        reply = await self._ask("DELETE", f"/async_request/{request_id}")
        if reply is not None and reply["canceled"]:
            self.ledger.canceled.add(request_id)

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """A good answer, or None."""
        with suppress(aiohttp.ClientError, TimeoutError):
            reply = await self._cluster.ask(
                method, path, timeout=aiohttp.ClientTimeout(total=CALL_S), **options
            )
            if reply.status in (200, 201):
                found: dict[str, Any] = reply.json
                return found
            assert reply.status >= 500 or reply.status in (404, 429), (reply.status, reply.body)
            if reply.status == 503 and method == "POST":
                self.ledger.refusals["retry-after" in reply.headers] += 1
            if reply.status == 404:
                return {"status": None}
        return None

    # Killing

    async def _kill(self, kills: Sequence[str]) -> None:
        """One after the other, spread over the submissions."""
        for place, part in enumerate(kills):
            due = self._requests * (place + 1) // (len(kills) + 1)

            async def far_enough(due: int = due) -> bool:
                return len(self.ledger.accepted) >= due

            await eventually(far_enough, f"{due} are accepted", seconds=GIVE_UP_S)
            if part == OUTAGE:
                await self._outage()
                continue
            victims = everything if part == "all" else PARTS[part]

            async def found(
                victims: Callable[[RunningCluster], Sequence[ProcessId]] = victims,
            ) -> Sequence[ProcessId]:
                return victims(self._cluster)

            for victim in await eventually(found, f"a {part} to kill"):
                with suppress(StopIteration, AssertionError):  # it may have gone by itself
                    self._cluster.kill(victim)
            self.ledger.killed.append(part)
            await asyncio.sleep(KILL_PAUSE_S)

    async def _outage(self) -> None:
        """Stops the store for a while; callers that wait for their answers must not notice."""
        # Its own title tells the server from the guardian that it runs below.
        (store,) = self._cluster.below(lambda command: "unixsocket:" in command)
        processes.send(store, signal.SIGSTOP)
        until = time.monotonic() + OUTAGE_S
        refused = sum(self.ledger.refusals.values())
        try:
            while time.monotonic() < until:
                reply = await self._cluster.predict(f"{MODEL}/production", {"number": -1})
                self.ledger.during_outage[reply.status] += 1
        finally:
            processes.send(store, signal.SIGCONT)
        self.ledger.killed.append(f"store stopped for {OUTAGE_S:.0f} s")
        assert sum(self.ledger.refusals.values()) > refused, "nobody noticed the outage"

    # The end

    async def _await_ends(self) -> None:
        """Asks about every request until it has ended, with its webhook."""
        deadline = time.monotonic() + QUIET_S
        waiting = list(self.ledger.accepted)
        limit = asyncio.Semaphore(SUBMITTERS)

        async def look(request_id: str) -> bool:
            async with limit:
                status = await self._ask("GET", f"/async_request/{request_id}")
            if status is None:
                return False
            known = status["status"] is not None
            self.ledger.statuses[request_id] = status if known else None
            ended = status["status"] not in ("QUEUED", "IN_PROGRESS")
            return not known or (ended and status["webhook_status"] != "PENDING")

        while waiting and time.monotonic() < deadline:
            done = await asyncio.gather(*(look(request_id) for request_id in waiting))
            waiting = [id_ for id_, over in zip(waiting, done, strict=True) if not over]
            if waiting:
                await asyncio.sleep(0.2)
        self.ledger.dead = await self._dead_letters()

    async def _dead_letters(self) -> set[str]:
        ids: set[str] = set()
        cursor: str | None = ""
        while cursor is not None:
            query = {"model": MODEL, "environment": "production", "limit": "100"}
            if cursor:
                query["cursor"] = cursor
            page = await self._ask("GET", "/api/v1/dead_letters", params=query)
            assert page is not None
            ids |= {str(letter["request_id"]) for letter in page["dead_letters"]}
            cursor = page["cursor"]
        return ids

    async def _look_into_store(self) -> None:
        """What must not be left there."""
        async with redis.Redis.from_url(self._cluster.store_url) as store:
            async for key in store.scan_iter(count=1000):
                name = key.decode()
                if await store.ttl(key) == -1:
                    self.ledger.immortal.append(name)
                kind = name.rpartition(":")[2]
                if kind == "leases":
                    self.ledger.leases += await store.zcard(key)
                elif kind == "stays":
                    self.ledger.open += await store.zcard(key)
                elif kind == "open":
                    self.ledger.open += await store.hlen(key)


async def chaos(folder: Path, requests: int, kills: Sequence[str]) -> Ledger:
    """A whole run on a cluster of its own.

    Args:
        folder: for the cluster's config and state.
        requests: how many to submit.
        kills: see `ChaosRun.run`.
    """
    async with Receiver() as receiver:
        cluster = RunningCluster.prepare(HERE / "cluster.yaml", folder, "")
        try:
            await cluster.up()
            created = await cluster.ask("POST", "/api/v1/webhook_secrets", json={})
            receiver.expect(created.json["secret"])
            await cluster.until(MODEL, lambda live: len(live["replicas"]) == 2, "two replicas")
            ledger = await ChaosRun(cluster, receiver, requests).run(kills)
        finally:
            left = await cluster.down()
    assert not left, left
    return ledger
