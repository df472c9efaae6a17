"""A node that is to go away: spot notice, scale-in."""

from tests.chaos.receiver import Receiver
from tests.integration.gates import Gates
from tests.integration.running_cluster import eventually
from tests.nodes.cluster import EAST, WEST, NodesCluster
from tests.nodes.load import Load


async def test_a_drained_node_finishes_what_runs_there_and_nobody_notices(
    cluster: NodesCluster, receiver: Receiver, gates: Gates
) -> None:
    await cluster.settle(lambda: cluster.replicas("roaming.production"), EAST, WEST)
    await cluster.until_ready("roaming", 2)
    with gates.held("drained") as gate:
        requests = [
            cluster.send("roaming", {"number": number, "gate": "drained"}) for number in range(8)
        ]
        visits = await gate.until_arrived(8)
        there = [visit for visit in visits if cluster.network.where(visit.pid) == WEST]
        assert len(there) == 4
        async with cluster.losing(WEST), Load(cluster, receiver) as load:
            address = cluster.network.machines[WEST].address
            told = await cluster.command("drain", address, "--reason", "spot", "--deadline", "60")
            assert told.status == 0, told.errors

            async def replaced() -> bool:
                found = cluster.replicas("roaming.production")
                return len(cluster.at(EAST, found)) == 2

            await eventually(replaced, "a replica in the place of the one that goes away")
            assert all(visit.waiting for visit in there), "a request was cut off"
            gate.open()
            replies = [await request for request in requests]

            async def empty() -> bool:
                return not cluster.at(WEST, cluster.below(_is_ours))

            await eventually(empty, "nothing of ours on the node")
            await load.go_on(20)
    print(f"\n{load}")
    assert [reply.status for reply in replies] == [200] * 8
    ran = [reply.json["pid"] for reply in replies]
    assert sorted(ran) == sorted(visit.pid for visit in visits), "a request was run again"
    assert not load.faults(), str(load)


def _is_ours(command: str) -> bool:
    return command.startswith("ray::ServeReplica:")
