"""What a request meets when there is no room or no time for it."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.integration.gates import Gate, Gates
from tests.integration.running_cluster import (
    Reply,
    RunningCluster,
    eventually,
    predict_path,
    stages,
)

LIMIT = 1_000_000


async def occupy(cluster: RunningCluster, gate: Gate, model: str = "hasty") -> asyncio.Task[Reply]:
    """A request on the model's only slot."""
    # Warm first: what follows is about the slot and not about a cold start.
    await cluster.ask("POST", predict_path(model).replace("predict", "wake"))
    await cluster.until(
        model, lambda live: "READY" in stages(live) and not live["in_use"], "a free slot"
    )
    request = cluster.send(model, {"gate": gate.name, "label": "occupant"})
    await gate.until_arrived(1)
    return request


def error_of(reply: Reply) -> dict[str, Any]:
    """The error body, complete as the contract says."""
    assert set(reply.json) == {"error", "error_code", "detail", "request_id"}
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    found: dict[str, Any] = reply.json
    return found


async def test_a_full_queue_is_429_with_retry_after(cluster: RunningCluster, gates: Gates) -> None:
    with gates.held("full") as gate:
        occupant = await occupy(cluster, gate)
        parked: list[asyncio.Task[Reply]] = []
        refused: list[asyncio.Task[Reply]] = []

        async def settled() -> bool:
            waiting = (await cluster.environment("hasty"))["live"]["waiting"]
            return request.done() or waiting == len(parked) + 1

        # The bound is 2; each of the two routers may exceed it by what it has not heard yet,
        # or count one that has left the other's line since it last heard.
        while not refused:
            request = cluster.send("hasty", {"gate": "full"})
            await eventually(settled, "parked or refused")
            (refused if request.done() else parked).append(request)
            assert len(parked) <= 2 + 2
        assert parked
        reply = await refused[0]
        gate.open()
        assert {r.status for r in await asyncio.gather(occupant, *parked)} == {200}
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert error_of(reply)["error_code"] == "rate_limited"


async def test_reject_on_full_is_529_with_retry_after(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("taken") as gate:
        occupant = await occupy(cluster, gate, "hasty/development")
        reply = await cluster.predict("hasty/development")
        gate.open()
        assert (await occupant).status == 200
    assert reply.status == 529
    assert int(reply.headers["retry-after"]) >= 1
    assert error_of(reply)["error_code"] == "model_unavailable"


async def test_waiting_for_longer_than_the_park_time_out_is_503(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("parked") as gate:
        occupant = await occupy(cluster, gate)
        started = time.monotonic()
        reply = await cluster.predict("hasty")
        took = time.monotonic() - started
        gate.open()
        assert (await occupant).status == 200
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert error_of(reply)["error_code"] == "model_not_ready"
    assert 3 <= reply.json["detail"]["waited_seconds"] <= took < 4.5


async def test_a_model_that_takes_longer_than_the_predict_time_out_is_504(
    cluster: RunningCluster, gates: Gates
) -> None:
    with gates.held("slow") as gate:
        reply = await (await occupy(cluster, gate))
        assert reply.status == 504
        error = error_of(reply)
        assert error["error_code"] == "timeout"
        assert error["detail"]["limit_seconds"] == 5
        await gate.until_left(gate.visits[0], "cancelled")
    assert (await cluster.predict("hasty")).status == 200


@pytest.mark.parametrize("header", ["Request-Timeout-Ms", "Request-Deadline-Ms"])
async def test_the_callers_own_deadline_is_504_parked_and_running(
    cluster: RunningCluster, gates: Gates, header: str
) -> None:
    def given() -> dict[str, str]:
        past = 0.0 if header == "Request-Timeout-Ms" else time.time()
        return {header: str(int((past + 0.7) * 1000))}

    with gates.held(header) as gate:
        occupant = await occupy(cluster, gate, "steady")
        parked = await cluster.predict("steady", headers=given())
        gate.let_through()
        assert (await occupant).status == 200
        running = await cluster.predict("steady", {"gate": header}, headers=given())
        await gate.until_left(gate.visits[1], "cancelled")
    for reply, attempts in ((parked, 0), (running, 1)):
        assert reply.status == 504
        error = error_of(reply)
        assert error["error_code"] == "timeout"
        assert error["detail"] == {"field": header, "attempts": attempts}


async def raw_request(
    cluster: RunningCluster, headers: str, pieces: list[bytes]
) -> tuple[int, dict[str, Any]]:
    """Sends a request whose body is never completed; the answer's status and JSON."""
    _, _, port = cluster.url.rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    try:
        head = f"POST {predict_path('steady')} HTTP/1.1\r\nHost: here\r\n{headers}\r\n"
        head = head.replace("\r\n", f"\r\nAuthorization: Bearer {cluster.key('dev')}\r\n", 1)
        writer.write(head.encode())
        for piece in pieces:
            writer.write(piece)
        async with asyncio.timeout(20):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in answer[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
    finally:
        writer.close()
    return int(answer[0].split()[1]), json.loads(body)


async def test_a_body_that_is_announced_as_too_large_is_413_before_it_is_sent(
    cluster: RunningCluster,
) -> None:
    status, error = await raw_request(cluster, "Content-Length: 5000000\r\n", [])
    assert status == 413
    assert error["error_code"] == "payload_too_large"
    assert error["detail"] == {"limit_bytes": LIMIT, "size_bytes": 5_000_000}
    assert "5000000" in error["error"]
    assert str(LIMIT) in error["error"]


async def test_a_body_that_grows_too_large_is_413_while_it_streams_in(
    cluster: RunningCluster,
) -> None:
    piece = b"%x\r\n%b\r\n" % (600_000, b" " * 600_000)
    status, error = await raw_request(cluster, "Transfer-Encoding: chunked\r\n", [piece] * 2)
    assert status == 413
    assert error["error_code"] == "payload_too_large"
    assert error["detail"]["limit_bytes"] == LIMIT
    assert LIMIT < error["detail"]["size_bytes"] <= 1_200_000
