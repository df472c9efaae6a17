"""Draining a node: what runs there finishes elsewhere or first, then the node ends.

Ray starts nothing more on the node, Serve starts replacements elsewhere and ends what
it replaced, and Ray ends the node once nothing runs on it. Ray takes the deadline as
an announcement and does not enforce it. Serve does: a replica that has no replacement
yet is ended, finishing its requests, when the deadline is as near as its own bound
for that. A deadline shorter than this bound so ends it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psutil

from orchestrator.cluster.applications import longest_stop_seconds
from orchestrator.cluster.membership import (
    DEAD,
    DRAINING,
    SCALE_IN,
    SPOT,
    Drain,
    Node,
    Wait,
    find,
    of_this_machine,
)
from orchestrator.cluster.records import ClusterError

if TYPE_CHECKING:
    from orchestrator.cluster.applications import Details
    from orchestrator.cluster.member import Member

_DEFAULT_START_SECONDS: Final = 60.0
"""For a replacement to be ready, where no environment says how long its start may take."""

_SPARE_SECONDS: Final = 60.0
"""How long after the deadline a wait goes on: Serve looks every few seconds."""


def drain(cluster: Member, node: Node, *, reason: str, seconds: float) -> None:
    """Tell Ray to drain a node.

    Args:
        cluster: the node's.
        node: which.
        reason: `SPOT`, which Ray never refuses, or `SCALE_IN`, for an idle node only.
        seconds: until the node goes away.

    Raises:
        ClusterError: it is the head, or Ray refuses.
    """
    if node.head:
        raise ClusterError(
            f"{node} is the head: Ray's tables and Serve's controller are on it and cannot move, "
            "so draining it would end the cluster; drain other nodes, or end the cluster"
        )
    refusal = cluster.ask("drain", Drain(node.id, reason, seconds), kind=str)
    if refusal:
        running = sum(part.count for part in node.parts)
        hint = f"; {running} of Serve's processes run there" if running else ""
        other = f"; --reason {SPOT} drains it all the same" if reason == SCALE_IN else ""
        raise ClusterError(f"Ray does not drain {node}: {refusal}{hint}{other}")


def wait(cluster: Member, node: Node, seconds: float) -> None:
    """Wait until nothing of Serve's is on a node that drains, or the node is gone.

    Raises:
        ClusterError: something was left when it should have been over.
    """
    limit = seconds + _SPARE_SECONDS
    order = Wait(node.id, limit)
    left: Node | None = cluster.ask("wait", order, kind=Node | None, seconds=limit + _SPARE_SECONDS)
    if left is not None:
        names = ", ".join(f"{part.kind} {part.of}".strip() for part in left.parts)
        raise ClusterError(f"{node} was not empty {limit:.0f} s after its drain began: {names}")


def choose(cluster: Member, text: str | None) -> Node:
    """The node that is meant: one by id, address or name, or this machine's own.

    Raises:
        ClusterError: none is meant, or several are, or it is the only one there is.
    """
    nodes = cluster.nodes()
    node = of_this_machine(nodes, _own_addresses()) if text is None else find(nodes, text)
    staying = [each for each in nodes if each.state not in {DEAD, DRAINING} and each.id != node.id]
    if not staying:
        raise ClusterError(f"{node} is the only node that stays: nothing could move anywhere")
    return node


def default_seconds(details: Details) -> float:
    """A deadline that lets every request of the deployed config end, and replacements start.

    The longest bound for ending of any part, which is its longest request, and on top
    of it the longest start: before that is over, nothing is ended without replacement.

    Raises:
        ClusterError: nothing of ours is deployed, so there is no such bound.
    """
    longest = longest_stop_seconds(details)
    if longest is None:
        raise ClusterError("nothing of ours is deployed there: say --deadline SECONDS")
    return longest + max((_start_seconds(details, name) for name in details.ours), default=0.0)


def _start_seconds(details: Details, application: str) -> float:
    config: dict[str, Any] = details.applications[application].deployed_app_config or {}
    startup = config.get("args", {}).get("replica", {}).get("startup", {})
    return float(startup.get("timeout_seconds", _DEFAULT_START_SECONDS))


def _own_addresses() -> set[str]:
    """All addresses of this machine's network interfaces."""
    return {each.address for found in psutil.net_if_addrs().values() for each in found}
