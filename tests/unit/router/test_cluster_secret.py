"""The secret goes with each attempt on a replica that others can reach, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cluster_secret import FILE_VARIABLE, SecretError
from orchestrator.lifecycle.request import Outcome
from orchestrator.router.app import RouterApp
from tests.unit.router.harness import Slots, read_body, respond
from tests.unit.router.test_retries import QUICK, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.router.conftest import Rig

HEADER = "x-orchestrator-cluster"
SECRET = "of-this-cluster-" * 3
NEXT = "the-next-one-" * 3


class Seen:
    """A replica that notes which secrets it is sent, and answers one, which it should not."""

    def __init__(self) -> None:
        self.given: list[list[bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.given.append([value for name, value in scope["headers"] if name == HEADER.encode()])
        await read_body(receive)
        await respond(send, headers=[(HEADER.encode(), b"a secret"), (b"x-kept", b"1")])


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    return path


@pytest.fixture
def reachable(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes the replicas' addresses for ones that other machines can reach."""
    monkeypatch.setattr("orchestrator.router.upstream.is_guarded", lambda host: True)
    return secrets


def rotate(rig: Rig, file: Path) -> None:
    """The file has another secret, and the router has looked."""
    file.write_text(f"{NEXT}\n")
    assert rig.app._pool._secret is not None
    rig.app._pool._secret.refresh()


async def test_each_attempt_carries_it_once_and_never_the_caller_s(reachable: Path, rig: Rig):
    replica = Seen()
    await rig.replica(replica)
    for headers in ({}, {HEADER: "the caller's own"}):
        async with rig.http.post(rig.predict, data=b"{}", headers=headers) as response:
            assert response.status == 200
            assert response.headers["x-kept"] == "1"
            assert HEADER not in response.headers
    assert replica.given == [[SECRET.encode()]] * 2


async def test_a_replica_on_loopback_gets_none(secrets: Path, rig: Rig):
    replica = Seen()
    await rig.replica(replica)
    async with rig.http.post(rig.predict, headers={HEADER: "the caller's own"}) as response:
        assert response.status == 200
    assert replica.given == [[]]


async def test_a_kept_connection_carries_the_secret_of_the_moment(reachable: Path, rig: Rig):
    replica = Seen()
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200
    rotate(rig, reachable)
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200
    assert replica.given == [[SECRET.encode()], [NEXT.encode()]]


@pytest.mark.parametrize(("status", "why"), [(403, b"stranger"), (502, b"unreachable")])
async def test_a_replica_whose_door_stays_shut_is_left_for_another(
    rig: Rig, status: int, why: bytes
):
    shut = Scripted(*[status] * 9, headers=[(b"x-orchestrator-reject", why)])
    await rig.replica(shut, name="shut")
    await rig.replica(Seen(), name="open")
    async with rig.http.post(rig.predict, data=b"x") as response:
        assert response.status == 200
        assert response.headers["x-baseten-model-prediction-attempts"] == "2"
    assert shut.asked == 1
    # As one that cannot be reached: the queue is to hear of it.
    assert rig.echo.released == [("shut", True), ("open", False)]


async def test_a_shut_door_is_never_the_caller_s_fault(rig: Rig):
    rig.configure({"echo": {"production": {"retry": {**QUICK["retry"], "connection_attempts": 1}}}})
    await rig.replica(Scripted(403, headers=[(b"x-orchestrator-reject", b"stranger")]))
    async with rig.http.post(rig.predict) as response:
        assert response.status == 502
        assert "does not accept the cluster's secret" in (await response.json())["error"]
    assert rig.outcomes() == {Outcome.FAILED_REPLICA_LOST: 1}


async def test_a_model_s_own_403_passes(rig: Rig):
    await rig.replica(Scripted(403))
    async with rig.http.post(rig.predict) as response:
        assert response.status == 403
        assert await response.text() == '"mine"'


def test_a_router_does_not_start_with_a_bad_file(secrets: Path):
    secrets.write_text("too short\n")
    with pytest.raises(SecretError, match="line 1 of"):
        RouterApp(make_permits=lambda application, settings: Slots(settings), version="1")


async def test_the_front_door_s_own_answers_hold_none(reachable: Path, rig: Rig):
    async with rig.http.get(f"{rig.url}/nowhere", headers={HEADER: "x"}) as response:
        assert response.status == 404
        assert HEADER not in response.headers
        assert SECRET not in await response.text()
