"""The store as the router holds it: named, missing, changed, gone, and back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.router.table import decode, store_address
from tests.unit.conftest import started_server
from tests.unit.router.harness import table
from tests.unit.router.test_proxying import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

SUBMIT = "/models/echo/production/async_predict"
BODY: dict[str, Any] = {"model_input": {}}
EVERYTHING = [
    ("POST", SUBMIT),
    ("GET", "/models/echo/production/async_queue_status"),
    ("GET", "/models/echo/production/async_requests"),
    ("GET", f"/async_request/{'0' * 32}"),
    ("DELETE", f"/async_request/{'0' * 32}"),
    ("GET", "/api/v1/async_requests"),
    ("GET", "/api/v1/dead_letters"),
    ("POST", "/api/v1/webhook_secrets"),
]


async def _refusal(rig: Rig, method: str = "POST", path: str = SUBMIT) -> str:
    body = BODY if path == SUBMIT else None
    async with rig.http.request(method, rig.url + path, json=body) as response:
        assert response.status == 503, path
        assert int(response.headers["retry-after"]) >= 1
        answer = await response.json()
    assert answer["error_code"] == "internal_error"
    return str(answer["error"])


async def test_without_a_store_asynchronous_requests_say_so(rig: Rig) -> None:
    await rig.replica(Recorder())
    for method, path in EVERYTHING:
        assert "names no `store`" in await _refusal(rig, method, path)
    async with rig.http.post(rig.predict, data=b"{}") as response:
        assert response.status == 200
    assert (await rig.ask("GET", "/readyz"))[0] == 200


def test_the_address_may_be_a_reference() -> None:
    named = decode(table(store="${STORE_OF_THE_TEST}"))
    assert store_address(named, {"STORE_OF_THE_TEST": "redis://:secret@h/0"}) == (
        "redis://:secret@h/0"
    )
    for env in ({}, {"STORE_OF_THE_TEST": ""}):
        with pytest.raises(ValueError, match="STORE_OF_THE_TEST is not set"):
            store_address(named, env)
    assert store_address(decode(table(store="redis://h/0")), {}) == "redis://h/0"
    assert store_address(decode(table()), {}) is None


async def test_a_reference_is_resolved_in_the_process(
    rig: Rig, store: Store, store_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_OF_THE_TEST", store_server.url)
    rig.configure(store="${STORE_OF_THE_TEST}")
    await rig.submit()


@pytest.mark.parametrize(
    ("durable", "why"),
    [
        ({"store": "${NOT_SET_ANYWHERE}"}, "NOT_SET_ANYWHERE is not set"),
        ({"store": "http://:s3cret@h"}, "`store` or `webhooks` is not valid"),
        (
            {"store": "redis://h", "webhooks": {"allowed_networks": ["all"]}},
            "`store` or `webhooks` is not valid",
        ),
    ],
)
async def test_a_store_that_cannot_be_opened_touches_nothing_else(
    rig: Rig, caplog: pytest.LogCaptureFixture, durable: dict[str, Any], why: str
) -> None:
    caplog.set_level(logging.INFO)
    await rig.replica(Recorder())
    rig.configure(**durable)
    assert why in await _refusal(rig)
    async with rig.http.post(rig.predict, data=b"{}") as response:
        assert response.status == 200
    assert why in caplog.text
    assert "s3cret" not in caplog.text


async def test_the_same_table_again_keeps_the_store_open(
    rig: Rig, store: Store, store_server: EmbeddedServer
) -> None:
    rig.configure(store=store_server.url)
    with rig.app._plane.open() as before:
        pass
    rig.configure({"echo": {"production": {}}, "new": {"production": {}}}, store=store_server.url)
    with rig.app._plane.open() as after:
        assert after is before
    rig.configure(store=store_server.url, results={"keep_s": 60.0})
    with rig.app._plane.open() as after:
        assert after is not before
    await asyncio.gather(*rig.app._plane._retiring)
    await rig.submit()


async def test_a_store_is_closed_when_its_last_user_has_ended(
    rig: Rig, store: Store, store_server: EmbeddedServer
) -> None:
    rig.configure(store=store_server.url)
    with rig.app._plane.open() as held:
        rig.configure()
        (retiring,) = rig.app._plane._retiring
        await held.store.ping()
        assert not retiring.done()
    await retiring
    assert "names no `store`" in await _refusal(rig)


async def test_a_router_that_has_ended_refuses(
    rig: Rig, store: Store, store_server: EmbeddedServer
) -> None:
    rig.configure(store=store_server.url)
    await rig.submit()
    await rig.app.close()
    status, answer = await rig.ask("POST", SUBMIT, BODY)
    assert status == 503
    assert "shutting down" in answer["error"]


async def test_a_store_that_is_away_is_no_matter_to_synchronous_requests(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await rig.replica(Recorder(), slots=4)
    with started_server(tmp_path) as server:
        rig.configure(store=server.url)
        before = await rig.submit()
        await asyncio.to_thread(server.end, 0.0)

        async def predict() -> int:
            async with rig.http.post(rig.predict, data=b"{}") as response:
                return response.status

        refusals, statuses = await asyncio.gather(
            asyncio.gather(*(_refusal(rig, method, path) for method, path in EVERYTHING)),
            asyncio.gather(*(predict() for _ in range(50))),
        )
        assert set(statuses) == {200}
        assert {refusal.partition("does not answer")[1] for refusal in refusals} == {
            "does not answer"
        }
        causes = [getattr(record, "cause", "") for record in caplog.records]
        assert any("no connection" in cause for cause in causes)  # the cause is for the log

        await asyncio.to_thread(server.start)
        # By itself, and with all that it had accepted.
        status, shown = await rig.ask("GET", f"/async_request/{before}")
        assert (status, shown["status"]) == (200, "QUEUED")
        await rig.submit()
        _, depth = await rig.ask("GET", "/models/echo/production/async_queue_status")
        assert depth["num_queued_requests"] == 2
        rig.configure()
        await asyncio.gather(*rig.app._plane._retiring)
