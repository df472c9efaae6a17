"""Model servers that others wrote, unmodified, as child processes."""

import psutil

from tests.integration.running_cluster import RunningCluster, eventually


async def test_a_plain_web_application_is_served_as_it_is(cluster: RunningCluster) -> None:
    reply = await cluster.predict("plain", {"question": [1, 2]})
    assert reply.status == 200
    assert reply.json == {"you_sent": {"question": [1, 2]}}
    assert reply.headers["x-served-by"] == "plain"
    reply = await cluster.ask("GET", "/models/plain/production/sync/greet/you?x=1")
    assert (reply.status, reply.body) == (200, b"hello you x=1")
    assert (await cluster.ask("GET", "/models/plain/production/sync/nowhere")).status == 404


async def test_a_litserve_server_is_served_as_it_is(cluster: RunningCluster) -> None:
    reply = await cluster.predict("squares", {"input": 12})
    assert reply.status == 200, reply.body
    assert reply.json == {"output": 144}


async def test_the_children_of_a_command_do_not_outlive_the_kill_of_their_replica(
    cluster: RunningCluster,
) -> None:
    await cluster.predict("plain")
    pids = (await cluster.ask("GET", "/models/plain/production/sync/pids")).json
    family = [cluster.own(pid) for pid in pids]
    assert len(family) == 2
    (replica,) = cluster.replicas("plain.production")
    assert replica.pid in {parent.pid for parent in psutil.Process(pids[0]).parents()}
    cluster.kill(replica)

    async def gone() -> bool:
        return not any(psutil.pid_exists(pid) for pid in pids)

    await eventually(gone, "the children ended", seconds=10)
    reply = await cluster.predict("plain", {"back": True})
    assert reply.json == {"you_sent": {"back": True}}
