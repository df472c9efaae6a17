"""What every test can count on."""

from collections.abc import Iterator

import pytest

from orchestrator.telemetry.logs import current


@pytest.fixture(autouse=True)
def on_nobody_s_behalf() -> Iterator[None]:
    """A test that plays a request leaves its log context to no other test."""
    current.set(None)
    yield
    current.set(None)
