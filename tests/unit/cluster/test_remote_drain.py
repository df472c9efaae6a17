"""Which node is drained, for how long, and what stands against it."""

from typing import Any

import pytest

from orchestrator.cluster import applications, drain
from orchestrator.cluster.applications import Application
from orchestrator.cluster.member import Member
from orchestrator.cluster.membership import (
    DRAINING,
    SCALE_IN,
    SPOT,
    Drain,
    Node,
    Part,
    Wait,
)
from orchestrator.cluster.records import ClusterError

HEAD = Node(id="a" * 56, address="10.0.0.1", head=True)
BUSY = Node(id="b" * 56, address="10.0.0.2", parts=[Part("router"), Part("replica", "m/p", 2)])


class FakeMember(Member):
    """Knows some nodes, and gives one answer to every order."""

    def __init__(self, nodes: list[Node], answer: object = "") -> None:
        super().__init__("10.0.0.1:6379", {})
        self.known, self.answer = nodes, answer
        self.orders: list[tuple[str, object]] = []

    def nodes(self) -> list[Node]:
        return self.known

    def ask(
        self, command: str, given: object = None, *, kind: Any = Any, seconds: float = 60.0
    ) -> Any:
        self.orders.append((command, given))
        return self.answer


def test_ray_is_told_the_node_the_reason_and_the_time() -> None:
    member = FakeMember([HEAD, BUSY])
    drain.drain(member, BUSY, reason=SPOT, seconds=120)
    assert member.orders == [("drain", Drain(BUSY.id, SPOT, 120))]


def test_what_ray_refuses_is_said_with_what_runs_there() -> None:
    member = FakeMember([HEAD, BUSY], answer="The node is no longer idle.")
    said = r"10\.0\.0\.2 .*no longer idle\.; 3 of Serve's processes run there; --reason spot drains"
    with pytest.raises(ClusterError, match=said):
        drain.drain(member, BUSY, reason=SCALE_IN, seconds=60)


def test_the_head_is_not_drained() -> None:
    member = FakeMember([HEAD, BUSY])
    with pytest.raises(ClusterError, match=r"10\.0\.0\.1 .* is the head"):
        drain.drain(member, HEAD, reason=SPOT, seconds=60)
    assert member.orders == []


def test_the_last_node_that_stays_is_not_drained() -> None:
    leaving = Node(id="c" * 56, address="10.0.0.3", state=DRAINING)
    with pytest.raises(ClusterError, match="the only node that stays"):
        drain.choose(FakeMember([BUSY, leaving]), "10.0.0.2")


def test_without_a_name_this_machines_node_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_own_addresses", lambda: {"127.0.0.1", "10.0.0.2"})
    assert drain.choose(FakeMember([HEAD, BUSY]), None) is BUSY


def test_a_wait_ends_when_nothing_is_left() -> None:
    member = FakeMember([HEAD, BUSY], answer=None)
    drain.wait(member, BUSY, 100)
    assert member.orders == [("wait", Wait(BUSY.id, 160))]


def test_a_wait_that_was_in_vain_names_what_is_left() -> None:
    with pytest.raises(ClusterError, match=r"not empty 160 s after .*: router, replica m/p"):
        drain.wait(FakeMember([HEAD, BUSY], answer=BUSY), BUSY, 100)


def an_application(module: str, stop_seconds: float, **arguments: Any) -> Application:
    config = {"import_path": f"orchestrator.{module}:build_app", "args": arguments}
    deployment = {"deployment_config": {"graceful_shutdown_timeout_s": stop_seconds}}
    return Application(
        status="RUNNING",
        source="declarative",
        deployed_app_config=config,
        deployments={"One": deployment},
    )


def test_left_out_the_deadline_covers_the_longest_request_and_the_longest_start() -> None:
    found = {
        "router": an_application("router.application", 662.0),
        "m.production": an_application(
            "environment", 630.0, replica={"startup": {"timeout_seconds": 300.0}}
        ),
    }
    assert drain.default_seconds(applications.Details(applications=found)) == 962.0


def test_without_anything_deployed_a_deadline_must_be_said() -> None:
    with pytest.raises(ClusterError, match="say --deadline"):
        drain.default_seconds(applications.Details())
