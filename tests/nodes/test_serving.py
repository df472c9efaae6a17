"""Requests and replicas on the nodes where they should be."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.gates import Gates
from tests.integration.running_cluster import eventually, predict_path
from tests.integration.test_streams import next_event
from tests.nodes.cluster import EAST, HEAD, WEST, NodesCluster

SECRET_HEADER = "x-orchestrator-cluster"
SECRET_FILE_VARIABLE = "ORCHESTRATOR_CLUSTER_SECRET_FILE"


async def test_replicas_on_both_nodes_answer_through_the_head(cluster: NodesCluster) -> None:
    async def both_answered() -> bool:
        replies = await asyncio.gather(
            *(cluster.predict("seated", {"number": number}) for number in range(8))
        )
        assert [reply.status for reply in replies] == [200] * 8
        assert [reply.json["number"] for reply in replies] == list(range(8))
        return {cluster.network.where(reply.json["pid"]) for reply in replies} == {EAST, WEST}

    await eventually(both_answered, "answers of both replicas")


async def test_replicas_are_where_the_labels_and_resources_are_that_they_ask_for(
    cluster: NodesCluster,
) -> None:
    assert cluster.where(cluster.replicas("seated.production")) == [EAST, WEST]
    assert cluster.where(cluster.replicas("western.production")) == [WEST]
    assert cluster.where(cluster.replicas("plain.production")) == [EAST]
    assert HEAD not in cluster.where(cluster.replicas("roaming.production"))


async def test_parts_are_where_their_placement_says(cluster: NodesCluster) -> None:
    for environment in ("seated", "roaming", "western", "on-gpu", "plain"):
        (place,) = cluster.where(cluster.queues(f"{environment}.production"))
        assert place in {EAST, WEST}
    (place,) = cluster.where(cluster.dispatchers())
    assert place in {EAST, WEST}
    assert set(cluster.where(cluster.routers())) <= {HEAD, EAST}


async def test_a_sleeping_model_starts_on_the_node_that_has_its_gpu(cluster: NodesCluster) -> None:
    await cluster.until_zero("on-gpu")
    reply = await cluster.predict("on-gpu", {"label": "first"})
    assert reply.status == 200, reply.body
    assert reply.headers["x-cold-start"] == "true"
    assert cluster.network.where(reply.json["pid"]) == WEST


async def test_a_stream_crosses_nodes_chunk_by_chunk(cluster: NodesCluster, gates: Gates) -> None:
    body = {"gate": "chunks", "stream": 4}
    with gates.held("chunks") as gate:
        async with cluster.request("POST", predict_path("western"), json=body) as response:
            assert response.status == 200
            for number in range(4):
                # Event n is here while the model may not yet make event n + 1.
                _, data = await next_event(response)
                assert data["event"] == number
                assert cluster.network.where(data["pid"]) == WEST
                if number < 3:
                    await gate.until_arrived(number + 1)
                    assert not gate.visits[number].passed
                    gate.let_through()
            assert await response.content.read() == b""


@pytest.mark.parametrize(
    ("model", "paths"),
    [
        ("western", ["/predict", "/health", "/"]),
        ("plain", ["/invocations", "/alive", "/greet/eve"]),
    ],
)
async def test_a_replica_answers_nobody_without_the_secret_of_the_cluster(
    cluster: NodesCluster, model: str, paths: list[str]
) -> None:
    address, port = await cluster.address_of(model)
    assert (await cluster.predict(model)).status == 200
    secret = _secret_of(cluster)
    async with aiohttp.ClientSession(f"http://{address}:{port}") as stranger:
        for path in paths:
            for given in (None, "", "wrong" * 8, secret[:-1], secret + "0"):
                assert await _status(stranger, path, given) == 403, (path, given)
        # Without this the refusals would say nothing: it listens, and knows its own.
        for path in paths[:2]:
            assert await _status(stranger, path, secret) not in {401, 403}


async def test_a_caller_neither_learns_the_secret_nor_passes_one_on(cluster: NodesCluster) -> None:
    headers = {SECRET_HEADER: "guess" * 8}
    reply = await cluster.predict("plain", {"number": 1}, headers=headers)
    assert reply.status == 200
    assert SECRET_HEADER not in reply.headers
    assert _secret_of(cluster) not in str(reply)


async def _status(session: aiohttp.ClientSession, path: str, secret: str | None) -> int:
    headers = {} if secret is None else {SECRET_HEADER: secret}
    options: dict[str, Any] = {"headers": headers, "json": {"number": 1}}
    async with session.post(path, **options) as response:
        return response.status


def _secret_of(cluster: NodesCluster) -> str:
    """The secret that is sent, as the processes of a node find it."""
    environment = Path(f"/proc/{cluster.raylet(WEST).pid}/environ").read_text().split("\0")
    variables = dict(line.split("=", 1) for line in environment if "=" in line)
    return Path(variables[SECRET_FILE_VARIABLE]).read_text().split()[0]
