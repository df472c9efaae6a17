"""Where this process runs, as far as Ray can tell; works without Ray too."""

from __future__ import annotations

import sys
import uuid


def node_ip() -> str:
    """The address of this node that others reach; loopback outside a Ray cluster."""
    ray = sys.modules.get("ray")  # not imported for this: it would cost a second
    if ray is None or not ray.is_initialized():
        return "127.0.0.1"
    ip: str = ray.util.get_node_ip_address()
    return ip


def serve_replica_id() -> str | None:
    """The id that Serve gave to the replica running in this process, if any."""
    serve = sys.modules.get("ray.serve")
    if serve is None:
        return None
    try:
        unique_id: str = serve.get_replica_context().replica_id.unique_id
    except serve.exceptions.RayServeException:  # not inside a replica
        return None
    return unique_id


def replica_id() -> str:
    """Serve's id of this replica, or a new one."""
    return serve_replica_id() or uuid.uuid4().hex
