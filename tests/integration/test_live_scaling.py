"""Scaling as it happens: what was decided and when, by the queue's own history."""

import asyncio
import itertools
from typing import Any

from orchestrator.cluster.processes import ProcessId
from tests.integration.conftest import Deploy
from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, eventually, stages

MODEL = "paced"
SLOTS = 2
MOST = 4
DELAY_S = 1.0

Decisions = list[dict[str, Any]]


async def decisions(cluster: RunningCluster, model: str = MODEL) -> Decisions:
    """All changes of what was wanted, oldest first."""
    found: Decisions = (await cluster.environment(model))["live"]["decisions"]
    return found


def numbers(changes: Decisions) -> list[tuple[int, int]]:
    """From how many to how many."""
    return [(change["before"], change["desired"]) for change in changes]


def pids(cluster: RunningCluster, model: str = MODEL) -> set[int]:
    return {process.pid for process in cluster.replicas(f"{model}.production")}


async def until_ready(cluster: RunningCluster, count: int) -> dict[str, Any]:
    return await cluster.until(
        MODEL,
        lambda live: (live["desired"], stages(live)) == (count, ["READY"] * count),
        f"{count} wanted and ready",
    )


async def test_a_step_of_load_brings_all_replicas_and_its_end_takes_them_away_step_by_step(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero(MODEL)
    earlier = len(await decisions(cluster))
    with gates.held("step") as gate:
        requests = [cluster.send(MODEL, {"gate": "step"}) for _ in range(MOST * SLOTS)]
        visits = await gate.until_arrived(MOST * SLOTS)
        assert len({visit.pid for visit in visits}) == MOST
        await until_ready(cluster, MOST)
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * MOST * SLOTS
    await cluster.until_zero(MODEL)
    changes = (await decisions(cluster))[earlier:]
    falls = [change for change in changes if change["desired"] < change["before"]]
    rises = changes[: -len(falls)]
    assert numbers(rises)[0][0] == 0
    assert numbers(rises)[-1][1] == MOST
    # Half of them at a time, but one at least; the first step is as far as the average has fallen.
    assert numbers(falls)[0][0] == MOST
    assert numbers(falls)[-1] == (1, 0)
    assert all(before - after <= max(before // 2, 1) for before, after in numbers(falls))
    times = [-change["age_s"] for change in (rises[-1], *falls)]
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(pauses) >= DELAY_S
    assert all("in flight over 1 s, 2 a replica" in change["reason"] for change in changes)


async def test_a_square_wave_with_lows_shorter_than_the_delay_changes_nothing(
    cluster: RunningCluster, gates: Gates, deploy: Deploy
) -> None:
    def change(config: dict[str, Any]) -> None:
        autoscaling = config["models"][MODEL]["environments"]["production"]["autoscaling"]
        config["models"][MODEL]["environments"]["production"]["autoscaling"] = {
            **autoscaling,
            "scale_down_delay": 600,
        }

    async def high_and_low() -> None:
        with gates.held("wave") as gate:
            requests = [cluster.send(MODEL, {"gate": "wave"}) for _ in range(2 * SLOTS)]
            await gate.until_arrived(2 * SLOTS)
            await until_ready(cluster, 2)
            gate.open()
            await asyncio.gather(*requests)
        await cluster.until(
            MODEL, lambda live: live["decision"].startswith("0.00 in flight"), "a whole window low"
        )

    await cluster.until_zero(MODEL)
    await deploy(change)
    await high_and_low()
    earlier, there = numbers(await decisions(cluster)), pids(cluster)
    assert len(there) == 2
    for _ in range(4):
        await high_and_low()
    assert numbers(await decisions(cluster)) == earlier
    assert pids(cluster) == there


async def test_policy_and_target_change_while_requests_run_and_nothing_is_restarted(
    cluster: RunningCluster, gates: Gates, deploy: Deploy
) -> None:
    always = {"days": "daily", "start": "00:00", "end": "24:00", "replicas": 3}

    def change(config: dict[str, Any]) -> None:
        environment = config["models"][MODEL]["environments"]["production"]
        environment["autoscaling"] = {
            **environment["autoscaling"],
            "concurrency_target": 1,
            "policy": [{"name": "schedule", "windows": [always]}, "concurrency"],
        }

    await cluster.until_zero(MODEL)
    with gates.held("change") as gate:
        requests = [cluster.send(MODEL, {"gate": "change"}) for _ in range(2 * SLOTS)]
        await gate.until_arrived(2 * SLOTS)
        await until_ready(cluster, 2)
        queue, replicas = cluster.queues(f"{MODEL}.production"), pids(cluster)
        await deploy(change)
        # One request a replica, of the four that run.
        live = await until_ready(cluster, 4)
        assert live["decision"].startswith("concurrency: 4.00 in flight")
        assert len(gate.waiting) == 2 * SLOTS
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * 2 * SLOTS
    # The schedule is a floor.
    live = await cluster.until(MODEL, lambda live: live["desired"] == 3, "the schedule's number")
    assert live["decision"].startswith("schedule: ")
    assert {reply.json["pid"] for reply in replies} == replicas
    assert replicas < pids(cluster)
    assert cluster.queues(f"{MODEL}.production") == queue


async def test_a_model_that_was_woken_answers_without_a_cold_start_and_sleeps_after_the_delay(
    cluster: RunningCluster,
) -> None:
    await cluster.until_zero(MODEL)
    earlier = len(await decisions(cluster))
    assert (await cluster.ask("POST", f"/models/{MODEL}/production/wake")).status == 202
    await until_ready(cluster, 1)
    reply = await cluster.predict(MODEL)
    assert reply.status == 200
    assert "x-cold-start" not in reply.headers
    await cluster.until_zero(MODEL)
    changes = (await decisions(cluster))[earlier:]
    assert numbers(changes) == [(0, 1), (1, 0)]
    assert changes[0]["age_s"] - changes[1]["age_s"] >= DELAY_S


async def test_an_environment_gets_the_gpu_that_another_gives_up(
    cluster: RunningCluster, gates: Gates
) -> None:
    await cluster.until_zero("work")
    with gates.held("theirs") as theirs:
        first = [cluster.send("work", {"gate": "theirs"}) for _ in range(2)]
        # 2 in flight, of 1.4 that a replica should have: both GPUs are taken.
        await cluster.until("work", lambda live: stages(live) == ["READY", "READY"], "both GPUs")
        waiting = cluster.send(f"{MODEL}/gpu")
        live = await cluster.until(
            f"{MODEL}/gpu", lambda live: live["provisioning"]["count"], "waiting for a GPU"
        )
        assert live["provisioning"]["needs"]["num_gpus"] == 1
        assert (live["desired"], live["waiting"], live["replicas"]) == (1, 1, [])
        shown = await cluster.command("status", "--name", cluster.name)
        assert "waiting for 1 GPU" in shown.output, shown
        assert not waiting.done()
        theirs.open()
        await asyncio.gather(*first)
    reply = await waiting
    assert reply.status == 200
    assert reply.headers["x-cold-start"] == "true"
    # It was wanted before one was given up, and became ready after that. Ages, so the other way.
    given_up = [change for change in await decisions(cluster, "work") if change["before"] == 2]
    live = (await cluster.environment(f"{MODEL}/gpu"))["live"]
    wanted = [change for change in live["decisions"] if change["before"] == 0]
    ready = live["starts"][-1]
    assert wanted[-1]["age_s"] > given_up[-1]["age_s"] > ready["age_s"]
    assert ready["stages"]["PROVISIONING"] > 0
    await cluster.until_zero(f"{MODEL}/gpu")


async def test_serves_controller_is_killed_while_replicas_start_and_nothing_is_lost(
    cluster: RunningCluster, gates: Gates
) -> None:
    def controllers() -> list[ProcessId]:
        return cluster.below(lambda command: command.startswith("ray::ServeController"))

    await cluster.until_zero(MODEL)
    with gates.held("paced/load") as loading, gates.held("controller") as gate:
        requests = [cluster.send(MODEL, {"gate": "controller"}) for _ in range(SLOTS)]
        await loading.until_arrived(1)
        (victim,) = controllers()
        cluster.kill(victim)
        # More is wanted while nobody is there who could start it.
        requests += [cluster.send(MODEL, {"gate": "controller"}) for _ in range((MOST - 1) * SLOTS)]
        await cluster.until(MODEL, lambda live: live["desired"] == MOST, "all wanted")

        async def replaced() -> bool:
            found = controllers()
            return bool(found) and victim not in found

        await eventually(replaced, "another controller")
        loading.open()
        await gate.until_arrived(MOST * SLOTS)
        # Serve replaces the replica whose setup was under way when its controller died. The
        # queue lists that one as well, as starting up, until it has been silent for long.
        live = await cluster.until(
            MODEL, lambda live: stages(live).count("READY") == MOST, "all there"
        )
        assert live["desired"] == MOST
        gate.open()
        replies = await asyncio.gather(*requests)
    assert [reply.status for reply in replies] == [200] * MOST * SLOTS
    assert {reply.headers["x-baseten-model-prediction-attempts"] for reply in replies} == {"1"}
    assert len({reply.json["pid"] for reply in replies}) == MOST

    async def gone() -> bool:
        return not pids(cluster)

    await eventually(gone, "all taken away by the other controller")
