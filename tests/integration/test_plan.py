"""`orchestrator plan` says what `deploy` then does: seen by the processes of a cluster."""

import asyncio
import copy
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from orchestrator.cluster import member
from orchestrator.cluster.records import ClusterRecord
from tests.integration.conftest import Change, Deploy
from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, eventually

ANYWHERE = {"ray.io/node-id": "!none"}
"""A label selector that each node meets: parts move by it, and stay where they are."""

Pids = dict[str, set[int]]

STEADY = "steady/production"
QUEUES = "queues of others"
PARTS = {
    ("steady.production", "Queue"): "queue",
    ("steady.production", "Replica"): "replicas",
    ("router", "Router"): "routers",
    ("dispatcher", "Dispatcher"): "dispatchers",
    ("observatory", "Observatory"): "observatory",
}
"""What a deployment of an application is called here."""


def _kept(config: dict[str, Any]) -> None:
    """A replica that is there whatever a queue that was replaced thinks of its load."""
    environment = config["models"]["steady"]["environments"]["production"]
    environment["autoscaling"] = {"min_replica": 1}


def _autoscaling(config: dict[str, Any]) -> None:
    environment = config["models"]["steady"]["environments"]["production"]
    environment["autoscaling"] = {"min_replica": 1, "scale_down_delay": 599}
    environment["timeouts"] = {"park_seconds": 599}
    config["auth"]["keys"]["narrow"]["scopes"] = ["inference", "manage"]


def _resources(config: dict[str, Any]) -> None:
    config["models"]["steady"]["deployments"]["v1"]["resources"]["num_cpus"] = 0.05


def _arguments(config: dict[str, Any]) -> None:
    config["models"]["steady"]["deployments"]["v1"]["runner"]["arguments"]["version"] += 1


def _places(config: dict[str, Any]) -> None:
    config["placement"] = dict.fromkeys(["queue", "router", "observatory"], ANYWHERE)
    config["dispatcher"] = {"drain_seconds": 1}


def _one_router(config: dict[str, Any]) -> None:
    config["router"]["replicas"] = 1


def _only_router(config: dict[str, Any]) -> None:
    del config["placement"]["router"]


# What is changed, what the plan must say of it, and which processes must be other ones after.
Step = tuple[Change, dict[str, str], set[str]]
OF_AN_ENVIRONMENT: list[Step] = [
    (_autoscaling, {STEADY: "in place", "router": "in place"}, set()),
    (_resources, {STEADY: "restarts replicas"}, {"replicas"}),
    (_arguments, {STEADY: "restarts queue and replicas"}, {"queue", "replicas"}),
]
OF_ALL_PARTS: list[Step] = [
    (
        _places,
        {
            STEADY: "restarts queue",
            "router": "restarts routers",
            "dispatcher": "restarts dispatchers",
            "observatory": "restarts observatory",
        },
        {"queue", QUEUES, "routers", "dispatchers", "observatory"},
    ),
    (_one_router, {"router": "in place"}, set()),
    (_only_router, {"router": "restarts routers"}, {"routers"}),
]


@pytest.mark.parametrize("steps", [OF_AN_ENVIRONMENT, OF_ALL_PARTS], ids=["environment", "parts"])
async def test_each_kind_of_change_restarts_what_the_plan_said_and_nothing_else(
    cluster: RunningCluster, deploy: Deploy, steps: list[Step]
) -> None:
    await deploy(_kept)
    before = await settled(cluster)
    for change, said, restarted in steps:
        planned = await plan(cluster, change)
        found = {each["part"]: each["kind"] for each in planned["changes"]}
        if QUEUES in restarted:
            others = {part for part in found if "/" in part and part != STEADY}
            assert {found.pop(part) for part in others} == {"restarts queue"}
        assert found == said, change.__name__
        async with calling(cluster) as answers:
            await deploy(change)
            after = await settled(cluster)
        same = {part for part in before if before[part] == after[part]}
        if change is _one_router:
            assert after["routers"] < before["routers"]
            same.add("routers")
        seen = {part: (before[part], after[part]) for part in before}
        assert set(before) - same == restarted, (change.__name__, seen)
        assert all(before[part].isdisjoint(after[part]) for part in restarted)
        alone = change is _only_router
        assert set(answers) <= ({200, 500, 503} if alone else {200}), (change.__name__, answers)
        assert answers[200]
        before = after
    assert not (await plan(cluster, lambda _: None))["changes"]


async def test_an_environment_that_is_removed_and_comes_back(
    cluster: RunningCluster, gates: Gates, deploy: Deploy
) -> None:
    def remove(config: dict[str, Any]) -> None:
        del config["models"]["paced"]["environments"]["gpu"]

    original = copy.deepcopy(cluster.config)

    def restore(config: dict[str, Any]) -> None:
        config.clear()
        config.update(original)

    with gates.held("removed") as gate:
        running = [cluster.send("paced/gpu", {"gate": "removed"}) for _ in range(2)]
        await gate.until_arrived(2)
        later = await cluster.ask(
            "POST", "/models/paced/environments/gpu/async_predict", json={"model_input": {}}
        )
        assert later.status == 201
        planned = await plan(cluster, remove)
        assert [(each["part"], each["kind"]) for each in planned["changes"]] == [
            ("paced/gpu", "removed")
        ]
        await deploy(remove)

        async def unknown() -> bool:
            replies = [await cluster.predict("paced/gpu") for _ in range(4)]
            return {reply.status for reply in replies} == {404}

        await eventually(unknown, "no router knows it")
        assert all(visit.waiting for visit in gate.visits[:2]), "what runs goes on"
        gate.open()
        assert [reply.status for reply in await asyncio.gather(*running)] == [200, 200]
    place = f"/async_request/{later.json['request_id']}"
    planned = await plan(cluster, restore)
    assert [(each["part"], each["kind"]) for each in planned["changes"]] == [("paced/gpu", "added")]
    await deploy(restore)

    async def succeeded() -> bool:
        return bool((await cluster.ask("GET", place)).json.get("status") == "SUCCEEDED")

    await eventually(succeeded, "what was accepted before has run")
    await settled(cluster)


async def test_what_deploy_refuses_is_planned_as_such(cluster: RunningCluster) -> None:
    def connections(config: dict[str, Any]) -> None:
        config["cluster"]["max_connections"] = 512

    planned = await plan(cluster, connections, "--exit-code", status=2)
    (change,) = planned["changes"]
    assert change["kind"] == "new cluster"
    assert change["fields"] == [{"path": "cluster.max_connections", "old": 4096, "new": 512}]
    done = await cluster.command("deploy", str(cluster.folder / "planned.yaml"))
    assert done.status == 2
    assert "cluster.max_connections" in done.errors


async def plan(
    cluster: RunningCluster, change: Change, *options: str, status: int = 0
) -> dict[str, Any]:
    """What the command says of the cluster's file with a change of it."""
    config = copy.deepcopy(cluster.config)
    change(config)
    path = cluster.folder / "planned.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    done = await cluster.command("plan", str(path), "--json", *options)
    assert done.status == status, done.errors
    found: dict[str, Any] = json.loads(done.output)
    return found


async def settled(cluster: RunningCluster) -> Pids:
    """Waits until Serve has done all that it was told; the processes that there are then."""
    record = msgspec.convert(cluster._record(), ClusterRecord)
    there = member.of_record(record, os.environ)

    async def done() -> Pids | None:
        details = await asyncio.to_thread(there.details)
        deployments = {
            (name, title): deployment
            for name, application in details.applications.items()
            for title, deployment in application.deployments.items()
            if not name.startswith("broken.")
        }
        states = {state["state"] for each in deployments.values() for state in each["replicas"]}
        healthy = {each["status"] for each in deployments.values()} == {"HEALTHY"}
        return _by_part(deployments) if healthy and states <= {"RUNNING"} else None

    return await eventually(done, "Serve has nothing left to do", seconds=90)


def _by_part(deployments: dict[tuple[str, str], dict[str, Any]]) -> Pids:
    """Pids by what they are, of `steady` and of the cluster."""
    found: Pids = {part: set() for part in (*PARTS.values(), QUEUES)}
    for key, deployment in deployments.items():
        part = PARTS.get(key, QUEUES if key[1] == "Queue" else None)
        if part is not None:
            found[part] |= {replica["pid"] for replica in deployment["replicas"]}
    return found


@asynccontextmanager
async def calling(cluster: RunningCluster) -> AsyncIterator[Counter[int]]:
    """Calls `steady` one request after the other; gives how often each status was answered."""
    answers: Counter[int] = Counter()
    asked, over = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        while not over.is_set():
            answers[(await cluster.predict("steady")).status] += 1
            asked.set()

    task = asyncio.create_task(call())
    try:
        await asked.wait()
        yield answers
        asked.clear()
        await asked.wait()
    finally:
        over.set()
        await task
