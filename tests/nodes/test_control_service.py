"""Ray's own tables (the GCS), whose service ends and is started again."""

from orchestrator.cluster import processes
from tests.chaos.receiver import Receiver
from tests.integration.running_cluster import eventually
from tests.nodes.cluster import EAST, HEAD, WEST, NodesCluster
from tests.nodes.load import Load


async def test_requests_and_scaling_go_on_when_the_control_service_is_killed(
    cluster: NodesCluster, receiver: Receiver
) -> None:
    await cluster.until_zero("on-gpu")
    (victim,) = cluster.at(HEAD, cluster.below(_is_gcs))
    before = {name: processes.identify(cluster.raylet(name).pid) for name in (HEAD, EAST, WEST)}
    async with Load(cluster, receiver) as load:
        cluster.kill(victim)

        async def restarted() -> bool:
            found = cluster.at(HEAD, cluster.below(_is_gcs))
            return bool(found) and victim not in found

        await eventually(restarted, "another control service")
        await load.go_on(50)
        reply = await cluster.predict("on-gpu", {"label": "after"})
        assert reply.status == 200, reply.body
        assert reply.headers["x-cold-start"] == "true"
        await load.go_on(20)
    print(f"\n{load}")
    assert not load.faults(), str(load)
    after = {name: processes.identify(cluster.raylet(name).pid) for name in (HEAD, EAST, WEST)}
    assert after == before, "a node was lost with it"
    await cluster.whole()


def _is_gcs(command: str) -> bool:
    return command.split(" ", 1)[0].endswith("/gcs_server")
