"""More requests than slots."""

import asyncio

from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, stages

SLOTS = 2
GPUS = 2


async def test_forty_requests_at_once_fill_the_queue_bring_replicas_and_are_all_answered(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    with gates.held("forty") as gate:
        requests = [
            cluster.send("work", {"gate": "forty", "label": str(number)}) for number in range(40)
        ]
        await cluster.until("work", lambda live: live["waiting"] + live["in_use"] == 40, "all in")
        await gate.until_arrived(GPUS * SLOTS)
        live = await cluster.until("work", lambda live: live["waiting"] == 36, "36 waiting")
        assert live["in_use"] == GPUS * SLOTS
        assert live["desired"] == 3
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 40
    assert [reply.json["label"] for reply in replies] == [str(number) for number in range(40)]
    assert len({reply.json["pid"] for reply in replies}) == GPUS
    assert sorted(gate.labels, key=int) == [str(number) for number in range(40)]


async def test_a_third_replica_waits_for_a_gpu_and_its_environment_says_so(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    with gates.held("gpus") as gate:
        requests = [cluster.send("work", {"gate": "gpus"}) for _ in range(6)]
        await gate.until_arrived(GPUS * SLOTS)
        live = await cluster.until(
            "work", lambda live: live["provisioning"]["count"], "one missing"
        )
        assert stages(live) == ["READY", "READY"]
        assert live["desired"] == 3
        assert live["provisioning"]["count"] == 1
        assert live["provisioning"]["needs"]["num_gpus"] == 1
        shown = await cluster.command("status", "--name", cluster.name)
        assert "waiting for 1 GPU" in shown.output, shown
        longer = live["provisioning"]["for_s"]
        await cluster.until(
            "work", lambda live: live["provisioning"]["for_s"] > longer, "still waiting"
        )
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 6


async def test_scaling_down_does_not_cut_a_long_request(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    with gates.held("long") as gate:
        # One replica after the other, so that it is known which is the newest.
        requests = [cluster.send("work", {"gate": "long", "label": "0"})]
        await gate.until_arrived(1)
        requests += [cluster.send("work", {"gate": "long", "label": str(n)}) for n in (1, 2, 3)]
        await gate.until_arrived(GPUS * SLOTS)
        newest = (await cluster.environment("work"))["live"]["replicas"][-1]
        newest_pid = cluster.listener(newest["address"]).pid
        # One request stays, on the newest replica, which is the one to go.
        (kept, *rest) = [visit for visit in gate.visits if visit.pid == newest_pid]
        for visit in (*rest, *(visit for visit in gate.visits if visit.pid != newest_pid)):
            visit.let_through()
        live = await cluster.until("work", lambda live: "DRAINING" in stages(live), "draining")
        draining = next(r for r in live["replicas"] if r["stage"] == "DRAINING")
        assert draining["id"] == newest["id"]
        assert draining["permits"] == 1
        assert kept.waiting
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 4
    attempts = {reply.headers["x-baseten-model-prediction-attempts"] for reply in replies}
    assert attempts == {"1"}
    await cluster.until("work", lambda live: "DRAINING" not in stages(live), "drained")
