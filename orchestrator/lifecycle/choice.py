"""Which replica a permit is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable replica: how many permits it has out, of how many it can have."""

    replica_id: str
    out: int
    slots: int


def choose(
    candidates: Sequence[Candidate],
    target_utilization: float,
    avoid: AbstractSet[str] = frozenset(),
    prefer: str | None = None,
) -> Candidate | None:
    """The replica for the next permit; None where none has room.

    Below the target utilisation the fullest of the older ones (*packing*: the
    newest drain empty, and the newest are the first that Serve removes); above
    it the least utilised. A preferred replica is taken while it has room. A
    replica to be avoided is taken only where all usable ones are to be avoided.

    Args:
        candidates: the usable replicas, oldest first.
        target_utilization: share of a replica's slots, 0..1, up to which it is packed.
        avoid: replicas that failed the request before.
        prefer: the replica that the request would like.
    """
    if avoid and any(c.replica_id not in avoid for c in candidates):
        candidates = [c for c in candidates if c.replica_id not in avoid]
    roomy = [c for c in candidates if c.out < c.slots]
    if not roomy:
        return None
    if prefer is not None:
        for candidate in roomy:
            if candidate.replica_id == prefer:
                return candidate
    # max and min both take the first of equals: the oldest. The tolerance is for 0.29 * 100 < 29.
    packable = [c for c in roomy if c.out + 1 <= target_utilization * c.slots + 1e-9]
    if packable:
        return max(packable, key=lambda c: c.out / c.slots)
    return min(roomy, key=lambda c: c.out / c.slots)
