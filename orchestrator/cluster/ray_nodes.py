"""Nodes as Ray's control service (GCS) knows them, and draining one.

It is asked directly: no Ray node has to run on this machine, and the node that is
drained can go away meanwhile. Imports Ray, so only the driver's process does this.
"""

import time
from collections import defaultdict
from typing import Final

import ray
from ray._private.state import GlobalState
from ray._raylet import (  # type: ignore[attr-defined]  # compiled, and typed in part
    GcsClient,
    GcsClientOptions,
)
from ray.core.generated import autoscaler_pb2

from orchestrator.cluster.membership import (
    ALIVE,
    DEAD,
    DRAINING,
    SCALE_IN,
    SPOT,
    Drain,
    Node,
    Wait,
    parts_of,
)

_REASONS: Final = {
    SPOT: "DRAIN_NODE_REASON_PREEMPTION",
    SCALE_IN: "DRAIN_NODE_REASON_IDLE_TERMINATION",
}
_HEAD_RESOURCE: Final = "node:__internal_head__"
_LIVING_ACTORS: Final = frozenset({"PENDING_CREATION", "ALIVE", "RESTARTING"})
_RPC_SECONDS: Final = 10
_POLL_SECONDS: Final = 0.5


def draining() -> set[str]:
    """Ids of the nodes that are being drained; this process has joined the cluster."""
    return set(ray._private.state.state.get_draining_nodes())  # noqa: SLF001  # no public way


def nodes(address: str) -> list[Node]:
    """All nodes, the dead ones that Ray remembers too; the head first, then by address."""
    GcsClient(address=address)  # refuses a wrong token, for which the other only waits
    state = GlobalState()
    options = GcsClientOptions.create(
        address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False
    )
    state._initialize_global_state(options)  # noqa: SLF001  # Ray has no public way without a node
    try:
        return _described(state)
    finally:
        state.disconnect()


def drain(address: str, order: Drain) -> str:
    """Tell Ray to drain a node; empty when it does, else why it does not."""
    client = GcsClient(address=address)
    accepted, refusal = client.drain_node(
        order.node_id,
        autoscaler_pb2.DrainNodeReason.Value(_REASONS[order.reason]),  # type: ignore[attr-defined]
        f"orchestrator drain --reason {order.reason}",
        int((time.time() + order.seconds) * 1000),
        timeout=_RPC_SECONDS,
    )
    return "" if accepted else (refusal or "Ray gave no reason")


def wait_empty(address: str, wait: Wait) -> Node | None:
    """Wait until nothing of Serve's is on a node or it is gone; what it has when time is up."""
    end = time.monotonic() + wait.seconds
    while True:
        node = next((node for node in nodes(address) if node.id == wait.node_id), None)
        if node is None or node.state == DEAD or not node.parts:
            return None
        if time.monotonic() >= end:
            return node
        time.sleep(_POLL_SECONDS)


def _described(state: GlobalState) -> list[Node]:
    draining = state.get_draining_nodes()
    available = state.available_resources_per_node()
    actors: dict[str, list[str]] = defaultdict(list)
    for actor in state.actor_table(None).values():
        if actor["State"] in _LIVING_ACTORS and actor["Name"]:
            actors[actor["Address"]["NodeID"]].append(actor["Name"])
    found = []
    for row in state.node_table():
        node_id, total = row["NodeID"], _shown(row["Resources"])
        deadline = draining.get(node_id)
        alive = row["Alive"]
        free = available.get(node_id, {})
        found.append(
            Node(
                id=node_id,
                address=row["NodeManagerAddress"],
                name=row["NodeName"],
                state=(DRAINING if deadline is not None else ALIVE) if alive else DEAD,
                head=_HEAD_RESOURCE in row["Resources"],
                deadline_seconds=max(0.0, deadline / 1000 - time.time()) if deadline else None,
                total=total,
                used={name: round(amount - free.get(name, 0), 4) for name, amount in total.items()},
                labels=dict(row["Labels"]),
                parts=parts_of(actors[node_id]) if alive else [],
            )
        )
    return sorted(found, key=lambda node: (not node.head, node.state == DEAD, node.address))


def _shown(resources: dict[str, float]) -> dict[str, float]:
    """Without the marks that Ray gives each node, which nobody asks for by amount."""
    return {name: amount for name, amount in resources.items() if not name.startswith("node:")}
