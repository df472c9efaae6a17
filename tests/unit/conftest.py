"""What every test can count on."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.embedded import EmbeddedServer
from orchestrator.telemetry.logs import current


@pytest.fixture(autouse=True)
def on_nobody_s_behalf() -> Iterator[None]:
    """A test that plays a request leaves its log context to no other test."""
    current.set(None)
    yield
    current.set(None)


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A real server on a unix socket, for all tests that need no more than one that works."""
    with started_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@contextlib.contextmanager
def started_server(folder: Path) -> Iterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has a longest length
        server = EmbeddedServer(folder, Path(short) / "s")
        server.start()
        try:
            yield server
        finally:
            server.end()
