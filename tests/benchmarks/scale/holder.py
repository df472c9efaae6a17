"""A holder of permits in a process of its own: ``python -m ... GCS_ADDRESS``.

Prints a line when it is connected, reads what to do as a line of JSON, and prints what it saw.
"""

import asyncio
import json
import logging
import sys
import time
from typing import Any

import ray

from orchestrator.queues.client import PermitClient
from tests.benchmarks.scale.permits import bounds

_WARM_UP_S = 1.0
_CONNECT_S = 60.0


async def hold(asked: dict[str, Any]) -> None:
    """Take permits and give them back for a time; prints what came of it.

    Printed at once: Serve's own tasks on this loop may not end when they are told to.
    """
    queue = bounds() | ({} if asked["keep"] else {"keep_s": 0.0})
    client = PermitClient(asked["application"], queue)
    waits: list[float] = []
    granted: dict[int, object] = {}  # kept, so that none gets the id of another
    # The first one finds the way to the queue, which is not what is measured.
    client.release(await client.acquire(deadline=time.monotonic() + _CONNECT_S))
    started = time.monotonic() + _WARM_UP_S
    ends = started + asked["seconds"]

    async def take() -> None:
        while (began := time.monotonic()) < ends:
            permit = await client.acquire(deadline=ends + 10)
            now = time.monotonic()
            client.release(permit)
            if began >= started:
                waits.append(now - began)
                granted[id(permit.slot)] = permit.slot
            if now - began < 0.001:
                await asyncio.sleep(0)  # a permit that was at hand was no wait

    await asyncio.gather(*(take() for _ in range(asked["tasks"])))
    waits.sort()
    found = {
        "taken": len(waits),
        "granted": len(granted),
        "p50_ms": 1000 * waits[len(waits) // 2],
        "p99_ms": 1000 * waits[int(len(waits) * 0.99)],
    }
    print(json.dumps(found), flush=True)
    await client.close()


def main(address: str) -> None:
    """Connect, hear what to do, do it, tell."""
    ray.init(address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
    print("ready", flush=True)
    asked = json.loads(sys.stdin.readline())
    asyncio.run(hold(asked))
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
