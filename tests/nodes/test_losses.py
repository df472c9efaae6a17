"""Nodes that are lost, with a router, a dispatcher, a queue and replicas on them."""

import asyncio

from tests.chaos.receiver import Receiver
from tests.integration.gates import Gates
from tests.integration.running_cluster import eventually
from tests.nodes.cluster import EAST, HEAD, WEST, NodesCluster
from tests.nodes.load import DEADLINE_S, Load

QUEUE = "seated.production"


async def parts_are_elsewhere(cluster: NodesCluster) -> None:
    """Waits until what was on EAST, and may be elsewhere, is.

    A machine that is merely cut off still runs its own, for nobody.
    """
    places: list[list[str]] = []

    async def elsewhere() -> bool:
        parts = (cluster.routers(), cluster.dispatchers(), cluster.queues(QUEUE))
        places[:] = [[name for name in cluster.where(part) if name != EAST] for part in parts]
        return places == [[HEAD, HEAD], [WEST], [WEST]]

    try:
        await eventually(elsewhere, "router, dispatcher and queue elsewhere")
    except AssertionError as error:
        raise AssertionError(f"{error}; they are on {places}") from None


async def test_a_killed_node_costs_no_request_and_is_used_again_when_it_is_back(
    cluster: NodesCluster, receiver: Receiver
) -> None:
    await cluster.gather(EAST)
    async with cluster.losing(EAST), Load(cluster, receiver) as load:
        await cluster.lose(EAST)
        await parts_are_elsewhere(cluster)
        await load.go_on(50)
    print(f"\n{load}")
    assert not load.faults(), str(load)
    reply = await cluster.predict("plain", {"number": 1})
    assert reply.status == 200
    assert cluster.where(cluster.replicas("plain.production")) == [EAST]


async def test_a_node_that_cannot_be_reached_any_more_costs_no_request(
    cluster: NodesCluster, receiver: Receiver, gates: Gates
) -> None:
    await cluster.gather(EAST)
    await cluster.settle(lambda: cluster.replicas("roaming.production"), EAST, WEST)
    await cluster.until_ready("roaming", 2)
    with gates.held("unreachable") as gate:
        requests = [
            cluster.send(
                "roaming",
                {"number": number, "gate": "unreachable"},
                headers={"request-timeout-ms": str(int(DEADLINE_S * 1000))},
            )
            for number in range(8)
        ]
        visits = await gate.until_arrived(8)
        stuck = [visit for visit in visits if cluster.network.where(visit.pid) == EAST]
        assert len(stuck) == 4
        async with cluster.losing(EAST), Load(cluster, receiver) as load:
            cluster.network.cut(EAST)
            try:
                gate.open()
                replies = await asyncio.gather(*requests)
                await parts_are_elsewhere(cluster)
                await load.go_on(50)
            finally:
                cluster.network.mend(EAST)
    print(f"\n{load}")
    assert [reply.status for reply in replies] == [200] * 8
    assert {cluster.network.where(reply.json["pid"]) for reply in replies} == {WEST}
    assert not load.faults(), str(load)


async def test_a_replica_that_one_router_cannot_reach_is_still_used_by_the_other(
    cluster: NodesCluster, receiver: Receiver
) -> None:
    await cluster.gather(EAST)
    async with Load(cluster, receiver) as load:
        cluster.network.cut_between(EAST, WEST)
        try:
            await load.go_on(100)
        finally:
            cluster.network.mend_between(EAST, WEST)
    print(f"\n{load}")
    assert not load.faults(), str(load)
    await cluster.whole()
