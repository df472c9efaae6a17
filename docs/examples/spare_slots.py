"""A scaling policy of your own: always room for a few requests more than there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from orchestrator.lifecycle.scaling.policy import Seen, Wish


@dataclass(slots=True, kw_only=True)
class SpareSlots:
    """Replicas for the requests that are there, and for `spare` more at once.

    Attributes:
        spare: requests that find a free slot whenever they come.
    """

    spare: Annotated[int, Ge(1)] = 1

    def wish(self, now: float, seen: Seen) -> Wish:  # noqa: ARG002 - every policy gets the clock
        """See `orchestrator.lifecycle.scaling.policy.Policy`."""
        slots = min(seen.slots, seen.scaling.concurrency_target)
        present = seen.running + seen.waiting
        replicas = math.ceil((present + self.spare) / slots)
        return Wish(replicas, f"{present} requests and {self.spare} spare, {slots} a replica")
