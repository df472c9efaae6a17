"""What a lane goes by, as the table says it."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.lifecycle.settings import FullPolicy
from orchestrator.router.table import Environment


class LaneSettings(msgspec.Struct, frozen=True):
    """What a lane goes by.

    Attributes:
        environment: its settings in the table.
        lease_s: length of a lease.
        max_result_bytes: larger results are refused.
    """

    environment: Environment
    lease_s: float
    max_result_bytes: int

    @property
    def queue(self) -> dict[str, Any]:
        """The queue's settings for accepted work: it waits, whatever is said to callers."""
        return {**self.environment.queue, "policy": FullPolicy.QUEUE}
