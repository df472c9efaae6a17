"""Answers that come in pieces."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, predict_path


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Kind and data of the next server-sent event."""
    async with asyncio.timeout(30):
        lines = (await response.content.readuntil(b"\n\n")).decode().splitlines()
    fields = dict(line.split(": ", 1) for line in lines if line)
    return fields.get("event", "message"), json.loads(fields["data"])


async def test_a_stream_reaches_the_caller_chunk_by_chunk(
    cluster: RunningCluster, gates: Gates
) -> None:
    body = {"gate": "chunks", "stream": 4}
    with gates.held("chunks") as gate:
        async with cluster.request("POST", predict_path("steady"), json=body) as response:
            assert response.status == 200
            assert response.headers["content-type"] == "text/event-stream"
            for number in range(4):
                # Event n is here while the model may not yet make event n + 1.
                _, data = await next_event(response)
                assert data["event"] == number
                if number < 3:
                    await gate.until_arrived(number + 1)
                    assert not gate.visits[number].passed
                    gate.let_through()
            assert await response.content.read() == b""


async def test_a_replica_that_dies_in_a_stream_ends_it_with_an_error_and_uncleanly(
    cluster: RunningCluster, gates: Gates
) -> None:
    body = {"gate": "dies", "stream": 4, "die": 2}
    with gates.held("dies") as gate:
        async with cluster.request("POST", predict_path("steady"), json=body) as response:
            request_id = response.headers["x-request-id"]
            assert (await next_event(response))[1]["event"] == 0
            await gate.until_arrived(1)
            gate.open()
            assert (await next_event(response))[1]["event"] == 1
            kind, error = await next_event(response)
            assert kind == "error"
            assert error["error_code"] == "model_unavailable"
            assert error["request_id"] == request_id
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()
    assert (await cluster.predict("steady")).status == 200


async def test_a_caller_that_leaves_a_stream_stops_the_model(
    cluster: RunningCluster, gates: Gates
) -> None:
    body = {"gate": "left", "stream": 4}
    with gates.held("left") as gate:
        async with cluster.request("POST", predict_path("steady"), json=body) as response:
            await next_event(response)
            (visit,) = await gate.until_arrived(1)
        await gate.until_left(visit, "cancelled")
    assert (await cluster.predict("steady")).status == 200
