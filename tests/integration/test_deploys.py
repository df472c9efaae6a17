"""`orchestrator deploy` to the running cluster: only what changed restarts."""

from typing import Any

from orchestrator.cluster import processes
from tests.integration.conftest import Deploy
from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, eventually, stages


async def test_limits_and_autoscaling_change_without_a_restart(
    cluster: RunningCluster, gates: Gates, deploy: Deploy
) -> None:
    def change(config: dict[str, Any]) -> None:
        environment = config["models"]["steady"]["environments"]["production"]
        environment["autoscaling"] = {"scale_down_delay": 600, "max_replica": 2}
        environment["timeouts"] = {"park_seconds": 1}

    before = (await cluster.predict("steady")).json["pid"]
    with gates.held("limits") as gate:
        running = cluster.send("steady", {"gate": "limits"})
        await gate.until_arrived(1)
        await deploy(change)
        await cluster.until("steady", lambda live: live["desired"] == 2, "room for another")
        assert gate.visits[0].waiting
        gate.open()
        reply = await running
    assert (reply.status, reply.json["pid"]) == (200, before)
    found = await cluster.environment("steady")
    assert found["autoscaling"]["scale_down_delay"] == 600
    assert processes.alive(cluster.own(before))


async def test_a_changed_deployment_restarts_only_its_own_model_and_drains(
    cluster: RunningCluster, gates: Gates, deploy: Deploy
) -> None:
    def change(config: dict[str, Any]) -> None:
        runner = config["models"]["steady"]["deployments"]["v1"]["runner"]
        runner["arguments"]["version"] += 1

    await cluster.command("wake", "hasty")  # its callers do not wait for long
    await cluster.until("hasty", lambda live: "READY" in stages(live), "a replica")
    other = (await cluster.predict("hasty")).json["pid"]
    old = (await cluster.predict("steady")).json
    with gates.held("drains") as gate:
        running = cluster.send("steady", {"gate": "drains"})
        await gate.until_arrived(1)
        await deploy(change)

        async def new_answers() -> bool:
            reply = await cluster.predict("steady")
            assert reply.status == 200
            return bool(reply.json["version"] == old["version"] + 1)

        await eventually(new_answers, "the new version answers")
        assert gate.visits[0].waiting
        await cluster.until(
            "steady", lambda live: sorted(stages(live)) == ["DRAINING", "READY"], "the old draining"
        )
        assert gate.visits[0].waiting
        gate.open()
        reply = await running
    assert (reply.status, reply.json) == (200, old)
    assert reply.headers["x-baseten-model-prediction-attempts"] == "1"

    async def gone() -> bool:
        return old["pid"] not in {p.pid for p in cluster.replicas("steady.production")}

    await eventually(gone, "the old replica ended")
    assert (await cluster.predict("hasty")).json["pid"] == other
