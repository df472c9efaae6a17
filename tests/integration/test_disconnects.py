"""Callers that do not wait for the answer."""

import asyncio
from contextlib import suppress

from tests.integration.gates import Gates
from tests.integration.running_cluster import Reply, RunningCluster


async def hang_up(request: asyncio.Task[Reply]) -> None:
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request


async def test_a_caller_that_leaves_while_parked_leaves_the_line(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("line") as gate:
        first = cluster.send("steady", {"gate": "line", "label": "first"})
        await gate.until_arrived(1)
        leaver = cluster.send("steady", {"gate": "line", "label": "leaver"})
        await cluster.until("steady", lambda live: live["waiting"] == 1, "one parked")
        last = cluster.send("steady", {"gate": "line", "label": "last"})
        await cluster.until("steady", lambda live: live["waiting"] == 2, "two parked")
        await hang_up(leaver)
        await cluster.until("steady", lambda live: live["waiting"] == 1, "one left")
        gate.open()
        assert [reply.status for reply in await asyncio.gather(first, last)] == [200, 200]
    assert gate.labels == ["first", "last"]


async def test_a_caller_that_leaves_while_running_stops_the_model_and_frees_the_slot(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("slot") as gate:
        leaver = cluster.send("steady", {"gate": "slot", "label": "leaver"})
        await gate.until_arrived(1)
        next_one = cluster.send("steady", {"gate": "slot", "label": "next"})
        await cluster.until("steady", lambda live: live["waiting"] == 1, "one parked")
        await hang_up(leaver)
        await gate.until_left(gate.visits[0], "cancelled")
        await gate.until_arrived(2)
        gate.open()
        assert (await next_one).status == 200
    assert gate.labels == ["leaver", "next"]
