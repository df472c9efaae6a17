"""One cluster on three machines for all scenarios: each leaves it whole."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.receiver import Receiver
from tests.integration.gates import Gates
from tests.nodes.cluster import EAST, HEAD, WEST, NodesCluster
from tests.nodes.namespaces import Network, NotPermitted
from tests.ports import free_port
from tests.unit.store.servers import Server, answering, in_memory, run, valkey

HERE = Path(__file__).parent
FIRST_S = 240.0
"""Seconds of the first scenario, which starts the cluster, at most."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios share an event loop."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(FIRST_S))
            if asyncio.iscoroutinefunction(getattr(item, "obj", None)):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Three machines, or a skip where there can be none."""
    try:
        network = Network.build(HEAD, EAST, WEST)
    except NotPermitted as reason:
        pytest.skip(f"needs network namespaces: {reason}")
    try:
        yield network
    finally:
        network.remove()


@pytest.fixture(scope="session")
def variables(network: Network) -> Iterator[dict[str, str]]:
    """Where the stores are, one for requests and one for Ray's tables: outside of the nodes."""
    stores = [_store_at(network.gateway) for _ in range(2)]
    try:
        yield dict(zip(("NODES_STORE", "NODES_GCS_STORE"), (s.url for s in stores), strict=True))
    finally:
        for store in stores:
            store.stop()


def _store_at(host: str) -> Server:
    """A server that demands a password, on a port of all that the nodes reach."""
    folder, port, password = (
        Path(tempfile.mkdtemp(prefix="store-")),
        free_port(),
        secrets.token_hex(),
    )
    listening = ("--bind", host, "--port", str(port), "--requirepass", password)
    process = run(valkey(), folder, *in_memory(folder), *listening)
    return answering(Server(f"redis://:{password}@{host}:{port}", folder, process))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gates(network: Network) -> AsyncIterator[Gates]:
    async with Gates(network.gateway) as gates:
        yield gates


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def receiver(network: Network) -> AsyncIterator[Receiver]:
    """Where results of asynchronous requests go."""
    async with Receiver(network.gateway) as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(
    network: Network,
    variables: dict[str, str],
    gates: Gates,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[NodesCluster]:
    folder = tmp_path_factory.mktemp("nodes")
    cluster = NodesCluster.on(network, HERE / "cluster.yaml", folder, gates.address)
    cluster.variables = variables
    try:
        await cluster.up()
        for name in (EAST, WEST):
            await cluster.join(name)
        await cluster.whole()
        created = await cluster.ask("POST", "/api/v1/webhook_secrets", json={})
        receiver.expect(created.json["secret"])
        yield cluster
    finally:
        left = await cluster.down()
    assert not left
