"""Another routing table: swapped in whole, under requests that go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.unit.router.harness import read_body, respond, table
from tests.unit.router.test_proxying import Recorder

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


class Held:
    """A replica that answers when it is told to."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        self.started.set()
        await self.release.wait()
        await respond(send)


async def test_limits_change_without_a_new_permit_client(rig: Rig) -> None:
    slots = rig.echo
    await rig.replica(Recorder())
    rig.app.configure(table({"echo": {"production": {"queue": {"max_requests": 5}}}}))
    assert rig.echo is slots
    assert slots.settings == {"max_requests": 5}
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200


async def test_a_new_model_is_there_at_once(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {}}, "new": {"production": {}}}))
    await rig.replica(Recorder(), application="new.production")
    async with rig.http.post(f"{rig.url}/models/new/production/predict") as response:
        assert response.status == 200


async def test_a_removed_environment_ends_when_its_running_requests_have(rig: Rig) -> None:
    replica = Held()
    await rig.replica(replica)
    slots = rig.echo
    running = asyncio.ensure_future(rig.http.post(rig.predict))
    await replica.started.wait()
    parked = asyncio.ensure_future(rig.http.post(rig.predict))
    await slots.until(lambda: slots.waiters == 1)

    rig.app.configure(table({"other": {"production": {}}}))
    async with await parked as response:
        assert response.status == 503
        assert "echo/production" in (await response.json())["error"]
    assert not slots.closed
    async with rig.http.post(rig.predict) as response:
        assert response.status == 404

    replica.release.set()
    async with await running as response:
        assert response.status == 200
    await asyncio.gather(*rig.app._retiring)
    assert slots.closed


async def test_another_deployment_changes_where_it_is_found(rig: Rig) -> None:
    await rig.replica(Recorder())
    changed = {"deployment": "v2", "predict_path": "/v2/go"}
    replica = Recorder()
    rig.app.configure(table({"echo": {"production": changed}}))
    await rig.replica(replica, name="r0")
    rig.echo.failed.add("r1")
    async with rig.http.post(f"{rig.url}/models/echo/deployment/v2/predict") as response:
        assert response.status == 200
    assert replica.scopes[0]["raw_path"] == b"/v2/go"
    async with rig.http.post(f"{rig.url}/models/echo/deployment/v1/predict") as response:
        assert response.status == 404
