"""From zero to an answer, and back to zero."""

import asyncio

from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, stages

STARTUP = {"PROVISIONING", "STARTING", "LOADING", "WARMING"}


async def test_a_request_to_a_sleeping_model_waits_while_a_replica_starts(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    assert (await cluster.environment("work"))["status"] == "SCALED_TO_ZERO"
    with gates.held("work/load") as loading:
        request = cluster.send("work", {"label": "first"})
        await loading.until_arrived(1)
        live = await cluster.until("work", lambda live: stages(live) == ["LOADING"], "loading")
        assert live["waiting"] == 1
        assert live["oldest_wait_s"] > 0
        assert live["replicas"][0]["stages"]["STARTING"] > 0
        assert (await cluster.environment("work"))["status"] == "LOADING_MODEL"
        assert not request.done()
    reply = await request
    assert reply.status == 200
    assert reply.json["label"] == "first"
    assert reply.headers["x-cold-start"] == "true"
    assert int(reply.headers["x-queue-wait-ms"]) > 0
    assert reply.headers["x-baseten-model-prediction-attempts"] == "1"
    found = await cluster.environment("work")
    assert found["status"] == "ACTIVE"
    assert set(found["live"]["replicas"][0]["stages"]) == STARTUP
    assert set(found["live"]["startup"]["p50"]) >= STARTUP


async def test_a_request_to_a_warm_model_does_not_say_cold_start(cluster: RunningCluster) -> None:
    await cluster.predict("work")
    reply = await cluster.predict("work", headers={"x-request-id": "warm-1"})
    assert reply.status == 200
    assert "x-cold-start" not in reply.headers
    assert reply.headers["x-request-id"] == "warm-1"


async def test_requests_that_wait_for_the_same_replica_are_all_answered_by_it(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    with gates.held("work/load") as loading:
        requests = [cluster.send("work") for _ in range(2)]
        await cluster.until("work", lambda live: live["waiting"] == 2, "both waiting")
        await loading.until_arrived(1)
    replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200, 200]
    assert {reply.headers["x-cold-start"] for reply in replies} == {"true"}


async def test_wake_starts_a_replica_that_nobody_has_asked_yet(cluster: RunningCluster) -> None:
    await cluster.until_zero("work")
    reply = await cluster.ask("POST", "/models/work/production/wake")
    assert (reply.status, reply.body) == (202, b"")
    await cluster.until("work", lambda live: "READY" in stages(live), "a ready replica")
    done = await cluster.command("wake", "work", "--name", cluster.name)
    assert done.status == 0, done.errors


async def test_a_model_that_nobody_asks_goes_back_to_zero(cluster: RunningCluster) -> None:
    await cluster.predict("work")
    assert cluster.replicas("work.production")
    await cluster.until_zero("work")
    assert (await cluster.environment("work"))["status"] == "SCALED_TO_ZERO"
