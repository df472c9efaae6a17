"""Which node is meant, and what the names of Serve's actors say of a node."""

import pytest

from orchestrator.cluster.membership import DEAD, Node, Part, find, of_this_machine, parts_of
from orchestrator.cluster.records import ClusterError

HEAD = Node(id="aaaa" + "0" * 52, address="10.0.0.1", name="head", head=True)
FIRST = Node(id="bbbb1" + "0" * 51, address="10.0.0.2", name="10.0.0.2")
SECOND = Node(id="bbbb2" + "0" * 51, address="10.0.0.3", name="gpu")
LOST = Node(id="cccc" + "0" * 52, address="10.0.0.2", name="lost", state=DEAD)
NODES = [HEAD, FIRST, SECOND, LOST]


def test_actors_are_counted_by_what_they_are() -> None:
    names = [
        "SERVE_CONTROLLER_ACTOR",
        "SERVE_PROXY_ACTOR-aaaa",
        "SERVE_REPLICA::router#Router#x1",
        "SERVE_REPLICA::echo.production#Queue#x2",
        "SERVE_REPLICA::echo.production#Replica#x3",
        "SERVE_REPLICA::echo.production#Replica#x4",
        "SERVE_REPLICA::reports#App#x5",
        "somebody's own actor",
    ]
    assert parts_of(names) == [
        Part("controller"),
        Part("haproxy"),
        Part("other", "reports:App"),
        Part("queue", "echo/production"),
        Part("replica", "echo/production", 2),
        Part("router"),
    ]


@pytest.mark.parametrize("text", ["bbbb2", SECOND.id, "10.0.0.3", "gpu"])
def test_a_node_is_found_by_id_address_or_name(text: str) -> None:
    assert find(NODES, text) is SECOND


def test_the_address_of_a_dead_node_means_the_living_one() -> None:
    assert find(NODES, "10.0.0.2") is FIRST


def test_the_beginning_of_two_ids_is_refused_with_both() -> None:
    with pytest.raises(ClusterError, match=r"several nodes.*10\.0\.0\.2.*10\.0\.0\.3"):
        find(NODES, "bbbb")


@pytest.mark.parametrize("text", ["lost", "dddd", "aaa", ""])
def test_what_means_no_living_node_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ClusterError, match=r"no living node.*10\.0\.0\.1 \(aaaa00000000\)"):
        find(NODES, text)


def test_this_machines_node_is_the_one_at_its_addresses() -> None:
    assert of_this_machine(NODES, {"127.0.0.1", "10.0.0.3"}) is SECOND


def test_a_machine_with_two_nodes_or_none_is_told_so() -> None:
    with pytest.raises(ClusterError, match="several nodes run on this machine"):
        of_this_machine(NODES, {"10.0.0.1", "10.0.0.3"})
    with pytest.raises(ClusterError, match="no node of the cluster runs on this machine"):
        of_this_machine(NODES, {"192.0.2.1"})
