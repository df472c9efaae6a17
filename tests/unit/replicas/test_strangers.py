"""A Python model on an address that other machines can reach answers its own cluster only."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from orchestrator.lifecycle.replica import Stage
from replicas.errors import StartFailed
from tests.unit.replicas import models
from tests.unit.replicas.conftest import NODE, SECRET, SENT

NO_WAIT = {"backoff_max_seconds": 0}
STRANGERS = [
    {},
    {"x-orchestrator-cluster": ""},
    {"x-orchestrator-cluster": SECRET[:-1]},
    {"x-orchestrator-cluster": f"{SECRET}, {SECRET}"},
    {"authorization": f"Bearer {SECRET}"},
]


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("headers", STRANGERS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/predict"), ("GET", "/health"), ("GET", "/v1/models"), ("GET", "/nowhere")],
)
async def test_a_stranger_is_refused_whatever_it_asks(start, http, method, path, headers):
    replica = await start("WithApp")
    assert urlsplit(replica.address).hostname == NODE
    headers = {"x-request-id": "r-1", **headers}
    async with http.request(method, replica.address + path, json=1, headers=headers) as answer:
        assert answer.status == 403
        assert answer.headers["x-orchestrator-reject"] == "stranger"
        assert await answer.json() == {
            "error": "only routers and dispatchers of this cluster are answered here",
            "error_code": "unauthorized",
            "detail": {},
            "request_id": "r-1",
        }


@pytest.mark.usefixtures("secrets")
async def test_the_cluster_s_own_requests_are_answered(start, http):
    replica = await start("WithApp")
    async with http.post(f"{replica.address}/predict", json=[1], headers=SENT) as answer:
        assert await answer.json() == [1]
    for path in ("/health", "/v1/models"):
        async with http.get(replica.address + path, headers=SENT) as answer:
            assert answer.status == 200


@pytest.mark.usefixtures("secrets")
async def test_the_model_never_sees_the_secret(start, http):
    replica = await start("ShowsHeaders")
    headers = {**SENT, "x-kept": "1"}
    async with http.get(f"{replica.address}/headers", headers=headers) as answer:
        shown = await answer.json()
    for names in (shown["scope"], shown["context"]):
        assert "x-kept" in names
        assert "x-orchestrator-cluster" not in names


@pytest.mark.usefixtures("secrets")
async def test_a_stranger_is_refused_before_its_body_and_takes_no_slot(start, http):
    replica = await start("AsyncBlocked", slots=1)
    address = urlsplit(replica.address)
    predict = f"{replica.address}/predict"
    running = asyncio.create_task(http.post(predict, json=1, headers=SENT))
    await models.until_entered()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    async with asyncio.timeout(10):
        # Its connection is closed, too: nothing more is read from it.
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    # The one slot is taken: a request of the cluster's own would hear that instead.
    assert replica._runner.in_flight == 1
    models.release()
    async with await running as finished:
        assert finished.status == 200


@pytest.mark.usefixtures("secrets")
async def test_the_replica_s_own_health_check_needs_no_secret(start):
    replica = await start("HealthAsked", health={"interval_seconds": 0.01, "failures": 1})
    for _ in range(3):
        await replica._runner.check()
    await replica.check_health()


@pytest.mark.usefixtures("on_a_reachable_node")
@pytest.mark.parametrize("runner", ["AsyncEcho", {"type": "command", "command": ["sleep", "60"]}])
async def test_without_a_secret_a_reachable_node_starts_no_replica(start, reporter, runner):
    with pytest.raises(StartFailed):
        await start(runner, startup=NO_WAIT)
    failed = reporter.reports[-1]
    assert failed.stage is Stage.FAILED
    assert "other machines can reach this node (127.0.0.2)" in failed.reason
    assert "set ORCHESTRATOR_CLUSTER_SECRET_FILE on every node" in failed.reason


async def test_a_bad_file_fails_the_start_by_its_line(start, reporter, secrets):
    secrets.write_text(f"{SECRET}\ntoo short\n")
    with pytest.raises(StartFailed, match=r"the cluster's secret: line 2 of .*32 to 512"):
        await start("AsyncEcho", startup=NO_WAIT)
    assert "too short" not in reporter.reports[-1].reason


async def test_on_loopback_nothing_is_asked_for(start, http, secrets, monkeypatch):
    monkeypatch.setattr("replicas.place.node_ip", lambda: "127.0.0.1")
    replica = await start("AsyncEcho")
    async with http.post(f"{replica.address}/predict", json=1) as answer:
        assert answer.status == 200
