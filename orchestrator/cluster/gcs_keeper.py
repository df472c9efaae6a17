"""Keeps Ray's control service (GCS) running: starts it again whenever it ends.

Raylets, Serve's controller and drivers wait for it and connect again by themselves; its
tables are in the server that `cluster.gcs_store` names, without which a new one would
know nothing. Ray has no public means for this outside Kubernetes: a head that
`ray start --block` holds ends when its control service does.
"""

import logging
import time
from typing import Any

log = logging.getLogger("orchestrator.cluster.gcs_keeper")

_GCS = "gcs_server"  # ray._private.ray_constants.PROCESS_TYPE_GCS_SERVER
_STEADY_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 10.0


class GcsKeeper:
    """Watches the control service of the head node that this process started.

    Args:
        node: Ray's own object for the node; None: the one that `ray.init` started.
    """

    def __init__(self, node: Any = None) -> None:
        if node is None:
            from ray._private.worker import _global_node  # noqa: PLC0415  # after ray.init

            node = _global_node
        self._node = node
        self._failures = 0
        self._begun = time.monotonic()

    def look(self) -> None:
        """Start it again if it has ended.

        To be called in the thread that started the node: the kernel ends Ray's processes
        with that thread.
        """
        if self._alive():
            return
        now = time.monotonic()
        if now - self._begun >= _STEADY_SECONDS:
            self._failures = 0
        elif now - self._begun < min(2.0**self._failures - 1, _LONGEST_PAUSE_SECONDS):
            return
        self._failures += 1
        self._begun = now
        log.error("Ray's control service has ended; starting it again")
        if self._node.all_processes.get(_GCS):
            self._node.kill_gcs_server(check_alive=False)
        self._node._gcs_address = self._node._gcs_client = None  # noqa: SLF001  # start asks for it
        try:
            self._node.start_gcs_server()
        except Exception:  # whatever it is, the next start may succeed
            log.exception("Ray's control service does not start")

    def _alive(self) -> bool:
        started = self._node.all_processes.get(_GCS)
        return bool(started) and started[0].process.poll() is None
