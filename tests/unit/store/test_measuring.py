"""Calls to the store are measured by what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import Store, keys
from orchestrator.telemetry.instruments import Registry
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.unit.store.servers import Server

SECONDS, ERRORS = "orchestrator_store_seconds", "orchestrator_store_errors_total"


async def test_each_call_is_measured_under_the_name_of_its_script(server: Server):
    registry = Registry()
    store = Store.open(server.url, registry=registry, part="router")
    await store.ping()
    for _ in range(3):
        await store.requests.depth(keys.tag_of("m", "production"))
    await store.close()

    batch = registry.take()
    counted = {labels: sum(part.counts) for (_, labels), part in batch.histograms.items()}
    assert counted == {("router", "ping"): 1, ("router", "depth"): 3}
    assert {name for name, _ in batch.histograms} == {SECONDS}
    assert batch.counters == {}


async def test_a_call_without_an_answer_is_an_error_and_no_measurement():
    registry = Registry()
    store = Store.open(f"redis://127.0.0.1:{free_port()}", registry=registry, part="dispatcher")
    with pytest.raises(StoreUnreachable):
        await store.ping()
    await store.close()
    with pytest.raises(StoreUnreachable):
        await store.ping()

    batch = registry.take()
    assert batch.histograms == {}
    assert batch.counters == {(ERRORS, ("dispatcher",)): 2}
