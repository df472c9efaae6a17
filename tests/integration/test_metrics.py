"""`/metrics` of a real cluster: of the whole system, and as Prometheus wants it."""

import os
import re
import secrets
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from orchestrator.telemetry import metrics
from tests.integration.running_cluster import RunningCluster, eventually

OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
PROMTOOL_LIMIT_S = 60


async def samples(cluster: RunningCluster) -> list[tuple[str, dict[str, str], float, str]]:
    """Name, labels, value and exemplar's trace id of every sample."""
    reply = await cluster.ask("GET", "/metrics", headers=OPENMETRICS)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    families = text_string_to_metric_families(  # type: ignore[no-untyped-call]
        reply.body.decode()
    )
    return [
        (
            sample.name,
            sample.labels,
            float(sample.value),
            sample.exemplar.labels.get("trace_id", "") if sample.exemplar else "",
        )
        for family in families
        for sample in family.samples
    ]


async def answered(cluster: RunningCluster) -> float:
    """Requests to `traced` that were answered, over all routers."""
    wanted = {"model": "traced", "environment": "production", "outcome": "answered"}
    return sum(
        value
        for name, labels, value, _ in await samples(cluster)
        if name == "orchestrator_requests_total" and labels == wanted
    )


async def test_whichever_router_answers_tells_of_the_requests_of_all(
    cluster: RunningCluster,
) -> None:
    before = await answered(cluster)
    for _ in range(10):
        await cluster.predict("traced")

    async def told_alike() -> bool:
        # Each on a connection of its own, so of one router or another.
        told = {await answered(cluster) for _ in range(6)}
        return len(told) == 1 and told.pop() >= before + 10

    await eventually(told_alike, "10 more requests in the /metrics of every router")


async def test_a_sampled_request_is_an_exemplar(cluster: RunningCluster) -> None:
    trace_id = secrets.token_hex(16)
    header = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    await cluster.predict("traced", headers=header)

    async def seen() -> bool:
        return trace_id in {exemplar for *_, exemplar in await samples(cluster)}

    await eventually(seen, "the trace's exemplar")


async def test_every_process_tells_and_only_what_is_in_the_list(cluster: RunningCluster) -> None:
    await cluster.predict("traced")

    async def complete() -> bool:
        told = {
            labels["part"]: value
            for name, labels, value, _ in await samples(cluster)
            if name == "orchestrator_processes"
        }
        return {"router", "dispatcher", "queue", "replica"} <= set(told) and told["router"] == 2

    await eventually(complete, "all parts")
    for name, labels, *_ in await samples(cluster):
        base = name if name in metrics.BY_NAME else re.sub(r"_(bucket|sum|count)$", "", name)
        assert set(labels) - {"le"} == set(metrics.BY_NAME[base].labels), name


async def test_promtool_has_nothing_against_it(cluster: RunningCluster) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not on PATH: apt-get install prometheus")
        pytest.skip("promtool is not on PATH: apt-get install prometheus")
    reply = await cluster.ask("GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    done = subprocess.run(  # noqa: ASYNC221  # nothing else runs meanwhile
        [promtool, "check", "metrics"],
        input=reply.body,
        capture_output=True,
        check=False,
        timeout=PROMTOOL_LIMIT_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")


async def test_it_takes_a_key_that_may_manage(cluster: RunningCluster) -> None:
    for key, status in (
        ("", 401),
        ("Bearer dev.wrong", 401),
        (f"Bearer {cluster.key('narrow')}", 403),
    ):
        reply = await cluster.ask("GET", "/metrics", headers={"authorization": key})
        assert reply.status == status
