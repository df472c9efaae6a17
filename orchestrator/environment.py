"""The Serve application of one environment: its queue, and the replicas that it scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import serve

from orchestrator.queues.deployment import Queue
from orchestrator.queues.handle import QUEUE
from replicas.deployment import Replica

if TYPE_CHECKING:
    from ray.serve import Application

RETRIES_FOR_EVER = 1_000_000
"""Serve would give up after a few failed starts; whether to go on is the queue's decision."""


class _QueueAndReplicas(Queue):
    """The queue, as the root of its application: Serve deploys what the root is bound to."""

    def __init__(self, _replicas: Any) -> None:
        super().__init__()


def build_app(args: dict[str, Any]) -> Application:
    """Build the application that the compiled config names.

    Args:
        args: `{"replica": ReplicaSpec}` (see `orchestrator.config`). All else is
            set by the config's deployment options and changes without a restart.
    """
    replicas = serve.deployment(name="Replica", max_constructor_retry_count=RETRIES_FOR_EVER)(
        Replica
    ).bind(args["replica"])
    return serve.deployment(name=QUEUE)(_QueueAndReplicas).bind(replicas)
