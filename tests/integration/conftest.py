"""One cluster for all scenarios: they differ in what they do to it, and leave it usable."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.gates import Gates
from tests.integration.otlp_receiver import OtlpReceiver
from tests.integration.running_cluster import RunningCluster

HERE = Path(__file__).parent

Change = Callable[[dict[str, Any]], None]
Deploy = Callable[[Change], Awaitable[None]]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios share an event loop, and come last: no other test runs beside their cluster."""
    scenarios = [item for item in items if _is_scenario(item)]
    for item in scenarios:
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(240))  # the first one starts the cluster
    items[:] = [item for item in items if not _is_scenario(item)] + scenarios


def _is_scenario(item: pytest.Item) -> bool:
    return HERE in item.path.parents and "cluster" in getattr(item, "fixturenames", ())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gates() -> AsyncIterator[Gates]:
    async with Gates() as gates:
        yield gates


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def collector() -> AsyncIterator[OtlpReceiver]:
    """Where the cluster's traces go."""
    async with OtlpReceiver() as collector:
        yield collector


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(
    gates: Gates, collector: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("scenarios")
    cluster = RunningCluster.prepare(HERE / "cluster.yaml", folder, gates.address)
    cluster.variables = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_url,
        # Soon, and with little room: a test can fill it.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
    }
    try:
        await cluster.up()
        yield cluster
    finally:
        left = await cluster.down()
    assert not left


@pytest_asyncio.fixture(loop_scope="session")
async def deploy(cluster: RunningCluster) -> AsyncIterator[Deploy]:
    """Deploys a changed config; the original one is deployed again afterwards."""
    original = cluster.config

    def restore(config: dict[str, Any]) -> None:
        config.clear()
        config.update(original)

    yield cluster.deploy
    if cluster.config != original:
        await cluster.deploy(restore)
