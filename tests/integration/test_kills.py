"""kill -9 of each part, under load."""

import asyncio

from orchestrator.cluster import processes
from tests.integration.gates import Gates
from tests.integration.running_cluster import Reply, RunningCluster, eventually

LABELS = [str(number) for number in range(5)]


async def park_in_order(cluster: RunningCluster, gate: str) -> list[asyncio.Task[Reply]]:
    """One running request and four parked ones, each known to the queue before the next."""
    requests = []
    for parked, label in enumerate(LABELS):
        requests.append(cluster.send("steady", {"gate": gate, "label": label}))
        await cluster.until(
            "steady",
            lambda live, parked=parked: (live["in_use"], live["waiting"]) == (1, parked),  # type: ignore[misc]
            f"one running, {parked} parked",
        )
    return requests


async def test_no_caller_notices_the_kill_of_a_replica(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("replica-dies") as gate:
        body = {"gate": "replica-dies"}
        requests = [cluster.send("work", body) for _ in range(8)]
        running = await gate.until_arrived(4)
        victim = cluster.own(running[0].pid)
        lost = [visit for visit in running if visit.pid == victim.pid]
        cluster.kill(victim)
        for visit in lost:
            await gate.until_left(visit, "died")
        assert len(lost) == 2
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 8
    attempts = [int(reply.headers["x-baseten-model-prediction-attempts"]) for reply in replies]
    assert attempts.count(1) == 6
    assert victim.pid not in {reply.json["pid"] for reply in replies}


async def test_no_caller_notices_that_a_router_is_killed_before_it_answered(
    cluster: RunningCluster, gates: Gates
) -> None:
    async def both_serve() -> bool:
        await asyncio.gather(*(cluster.predict("work") for _ in range(8)))
        live = (await cluster.environment("work"))["live"]
        return bool(live["holders"] == 2 and len(cluster.routers()) == 2)

    await eventually(both_serve, "two routers that get requests")
    with gates.held("router-dies") as gate:
        requests = [cluster.send("work", {"gate": "router-dies"}) for _ in range(12)]
        await gate.until_arrived(4)
        await cluster.until(
            "work", lambda live: (live["waiting"], live["holders"]) == (8, 2), "8 parked at 2"
        )
        victim = cluster.routers()[0]
        cluster.kill(victim)
        assert not processes.wait_gone([victim], 5)
        await cluster.until(
            "work",
            lambda live: (live["holders"], live["in_use"], live["waiting"]) == (1, 4, 8),
            "all of them at the other router",
        )
        assert not [request for request in requests if request.done()]
        gate.open()
        assert {reply.status for reply in await asyncio.gather(*requests)} == {200}

    async def replaced() -> bool:
        return len([router for router in cluster.routers() if router != victim]) == 2

    await eventually(replaced, "another router in the place of the killed one")
    replies = await asyncio.gather(*(cluster.predict("work") for _ in range(10)))
    assert [reply.status for reply in replies] == [200] * 10


async def test_running_requests_go_on_and_parked_ones_keep_their_order_when_the_queue_is_killed(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("queue-dies") as gate:
        requests = await park_in_order(cluster, "queue-dies")
        (running,) = await gate.until_arrived(1)
        (victim,) = cluster.queues("steady.production")
        cluster.kill(victim)

        async def replaced() -> bool:
            found = cluster.queues("steady.production")
            return bool(found) and victim not in found

        await eventually(replaced, "another queue")
        await cluster.until(
            "steady",
            lambda live: (live["in_use"], live["waiting"]) == (1, 4),
            "the queue rebuilt",
        )
        assert running.waiting
        for count in range(1, len(LABELS) + 1):
            await gate.until_arrived(count)
            assert len(gate.waiting) == 1, "more than one request on one slot"
            gate.let_through()
        replies = await asyncio.gather(*requests)
    assert gate.labels == LABELS
    assert [reply.status for reply in replies] == [200] * 5
    attempts = {reply.headers["x-baseten-model-prediction-attempts"] for reply in replies}
    assert attempts == {"1"}


async def test_requests_are_answered_while_the_queue_is_dead(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("no-queue") as gate:
        requests = await park_in_order(cluster, "no-queue")
        (running,) = await gate.until_arrived(1)
        (victim,) = cluster.queues("steady.production")
        cluster.kill(victim)
        assert not processes.wait_gone([victim], 5)
        running.let_through()
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 5
    assert gate.labels == LABELS
