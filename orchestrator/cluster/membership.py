"""The nodes of a Ray cluster as the commands show them, and finding one of them.

Ray names Serve's actors after what they are, so its own tables say which of our
parts run on a node, also while Serve's controller does not answer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.cluster.records import ClusterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ALIVE: Final = "alive"
DRAINING: Final = "draining"
DEAD: Final = "dead"

PARTS: Final = ("router", "dispatcher", "observatory")
"""Applications that are one part of ours each."""

SPOT: Final = "spot"
"""Reason to drain: the node goes away whatever runs on it."""

SCALE_IN: Final = "scale-in"
"""Reason to drain: the node is not needed, if nothing runs on it."""

_REPLICA: Final = "SERVE_REPLICA::"
_PROXY: Final = "SERVE_PROXY_ACTOR"
_CONTROLLER: Final = "SERVE_CONTROLLER_ACTOR"
_SHORTEST_PREFIX: Final = 4
_SHOWN_ID: Final = 12


class Part(msgspec.Struct, frozen=True, order=True):
    """Something of Serve's on a node: a part of ours, HAProxy, another application.

    Attributes:
        kind: router, dispatcher, observatory, queue, replica, haproxy, controller,
            or other.
        of: MODEL/ENVIRONMENT of a queue or replica, APPLICATION:DEPLOYMENT of what is
            not ours; else empty.
        count: how many of these processes the node has.
    """

    kind: str
    of: str = ""
    count: int = 1


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One Ray node.

    Attributes:
        id: Ray's, in hexadecimal digits.
        address: where other nodes reach it.
        name: as it was given at its start; Ray's default is its address.
        state: alive, draining or dead.
        head: whether Ray's own tables and Serve's controller are on it.
        deadline_seconds: how long until a draining node goes away; None where it is
            not draining, or no deadline is known.
        total: amounts of resources, by Ray's names.
        used: the same of what is in use; None where that cannot be told.
        labels: Ray's labels.
        parts: what of Serve's runs there.
    """

    id: str
    address: str
    name: str = ""
    state: str = ALIVE
    head: bool = False
    deadline_seconds: float | None = None
    total: dict[str, float] = {}
    used: dict[str, float] | None = None
    labels: dict[str, str] = {}
    parts: list[Part] = []

    @property
    def short_id(self) -> str:
        """Enough of the id to tell it from others."""
        return self.id[:_SHOWN_ID]

    def __str__(self) -> str:
        """As messages name it: `10.0.0.2 (4f1a09c2d3e5)`."""
        return f"{self.address} ({self.short_id})"


class Drain(msgspec.Struct, frozen=True):
    """The order to drain a node, for `SPOT` or `SCALE_IN`; it goes away `seconds` from now."""

    node_id: str
    reason: str
    seconds: float


class Wait(msgspec.Struct, frozen=True):
    """The wish to know, within `seconds`, that nothing of Serve's runs on a node any more."""

    node_id: str
    seconds: float


def parts_of(actors: Iterable[str]) -> list[Part]:
    """What the names of the actors on one node stand for, counted; actors of others are left out."""
    found = Counter(part for name in actors if (part := _part(name)) is not None)
    return sorted(Part(kind, of, count) for (kind, of), count in found.items())


def find(nodes: Collection[Node], text: str) -> Node:
    """The living node that a text means: the beginning of its id, its address or its name.

    Raises:
        ClusterError: none is meant, or several are.
    """
    living = [node for node in nodes if node.state != DEAD]
    exact = [node for node in living if text in {node.id, node.address, node.name}]
    begun = [node for node in living if len(text) >= _SHORTEST_PREFIX and node.id.startswith(text)]
    found = exact or begun
    if len(found) == 1:
        return found[0]
    if found:
        raise ClusterError(f"{text!r} means several nodes, name one by its id: {_listed(found)}")
    raise ClusterError(
        f"no living node has the id, address or name {text!r}; nodes: {_listed(living)}"
    )


def of_this_machine(nodes: Collection[Node], addresses: Collection[str]) -> Node:
    """The living node at one of this machine's addresses.

    Raises:
        ClusterError: there is none, or there are several.
    """
    here = [node for node in nodes if node.state != DEAD and node.address in addresses]
    if len(here) == 1:
        return here[0]
    if here:
        raise ClusterError(
            f"several nodes run on this machine, name one by its id: {_listed(here)}"
        )
    raise ClusterError(f"no node of the cluster runs on this machine; nodes: {_listed(nodes)}")


def _part(actor: str) -> tuple[str, str] | None:
    if actor.startswith(_PROXY):
        return "haproxy", ""
    if actor.startswith(_CONTROLLER):
        return "controller", ""
    if not actor.startswith(_REPLICA):
        return None
    application, _, rest = actor.removeprefix(_REPLICA).partition("#")
    deployment = rest.partition("#")[0]
    if application in PARTS:
        return application, ""
    model, _, environment = application.rpartition(".")
    if model and deployment in {"Queue", "Replica"}:
        return deployment.lower(), f"{model}/{environment}"
    return "other", f"{application}:{deployment}"


def _listed(nodes: Iterable[Node]) -> str:
    return ", ".join(str(node) for node in nodes) or "none"
