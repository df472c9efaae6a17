"""A dispatcher shows the cluster's secret to replicas that others can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cluster_secret import FILE_VARIABLE, SecretError
from orchestrator.dispatcher.dispatcher import Dispatcher
from orchestrator.lifecycle.async_request import AsyncState
from tests.unit.dispatcher.slots import Slots
from tests.unit.router.harness import respond

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.dispatcher.conftest import Rig

HEADER = b"x-orchestrator-cluster"
SECRET = "of-this-cluster-" * 3


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    return path


@pytest.mark.parametrize("reachable", [True, False])
async def test_only_replicas_that_others_can_reach_are_sent_it(
    rig: Rig, secrets: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool
):
    monkeypatch.setattr("orchestrator.router.upstream.is_guarded", lambda host: reachable)
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.state is AsyncState.SUCCEEDED
    assert rig.replica.headers[0].get(HEADER) == (SECRET.encode() if reachable else None)


async def test_a_replica_whose_door_stays_shut_counts_as_one_that_cannot_be_reached(rig: Rig):
    async def shut_at_first(body: Any, number: int, send: Any) -> None:
        if number == 1:
            await respond(send, 403, b"", [(b"x-orchestrator-reject", b"stranger")])
        else:
            await respond(send)

    rig.replica.answer = shut_at_first
    rig.dispatch()
    request_id = await rig.submit()
    await rig.replica.until(lambda: len(rig.replica.seen) == 1)
    await rig.slots.until(lambda: ("r1", True) in rig.slots.released)
    rig.slots.add(rig.address)  # it says that it is well
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 2


def test_a_dispatcher_does_not_start_with_a_bad_file(secrets: Path):
    secrets.write_text("too short\n")
    with pytest.raises(SecretError, match="line 1 of"):
        Dispatcher(lambda application, queue: Slots().holder(queue))
