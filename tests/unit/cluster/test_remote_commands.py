"""`orchestrator nodes`, `drain`, `undeploy`: what they show, and what they refuse."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from orchestrator.cli import REFUSED, app, drains
from orchestrator.cluster import remote
from orchestrator.cluster.member import Member
from orchestrator.cluster.membership import DEAD, DRAINING, Node, Part

NODES = [
    Node(
        id="a" * 56,
        address="10.0.0.1",
        head=True,
        total={"CPU": 4, "memory": 1e9},
        used={"CPU": 0.2, "memory": 0},
        labels={"ray.io/node-id": "a" * 56, "zone": "b"},
        parts=[Part("router"), Part("replica", "echo/production", 2)],
    ),
    Node(id="b" * 56, address="10.0.0.2", state=DRAINING, deadline_seconds=75, total={"GPU": 2}),
    Node(id="c" * 56, address="10.0.0.3", state=DEAD),
]


class Known(Member):
    """A cluster of which these nodes are known."""

    def nodes(self) -> list[Node]:
        return NODES


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drains, "reach", lambda *_: Known("10.0.0.1:6379", {}))


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == REFUSED, result.output
    return result.stderr


@pytest.mark.usefixtures("_known")
def test_nodes_are_a_table_of_what_they_have_and_run() -> None:
    result = CliRunner().invoke(app, ["nodes"])
    header, head, draining, dead = (line.split() for line in result.stdout.splitlines())
    assert header == ["node", "address", "state", "CPU", "GPU", "labels", "runs"]
    assert head[1:6] == ["10.0.0.1", "alive,", "head", "0.2/4", "0/0"]
    assert head[6:] == ["zone=b", "router,", "replica", "echo/production", "x2"]
    assert draining[2:6] == ["draining", "for", "75", "s"]
    assert draining[-1] == "?/2"
    assert dead[1:] == ["10.0.0.3", "dead"]


@pytest.mark.usefixtures("_known")
def test_nodes_as_json_have_everything() -> None:
    result = CliRunner().invoke(app, ["nodes", "--json"])
    told = json.loads(result.stdout)["nodes"]
    assert msgspec.convert(told, list[Node]) == NODES


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say either which NODE to drain or --this-node"),
        (("10.0.0.2", "--this-node"), "say either which NODE to drain or --this-node"),
        (("10.0.0.2", "--reason", "boredom"), "must be spot or scale-in; got 'boredom'"),
        (("10.0.0.3",), "no living node has the id"),
    ],
)
def test_a_drain_that_is_not_clear_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("drain", *arguments)


def test_without_a_cluster_it_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert "say its GCS address" in refused("nodes")
    assert "no cluster named" in refused("nodes", "--name", "alpha")


def test_undeploying_says_what_goes_and_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "undeploy", lambda _: (["router"], ["reports"]))
    result = CliRunner().invoke(app, ["undeploy", "--address", "http://head:8265"])
    assert "when their requests have: router" in result.stdout
    assert "others' stay: reports" in result.stdout
    monkeypatch.setattr(remote, "undeploy", lambda _: ([], []))
    result = CliRunner().invoke(app, ["undeploy", "--address", "http://head:8265"])
    assert "nothing of ours" in result.stdout
