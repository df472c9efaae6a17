"""Replicas that a holder cannot reach although their queue hears well of them.

The first failure is the queue's to judge: it takes the replica out for everybody until
that reports again. Where it does and fails this holder again, the way between the two is
broken, which concerns nobody else: the holder alone avoids it, for a pause that doubles,
and then lets one request try.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

TRIAL_S = 6.0
"""How long a request that tries goes alone: longer than a connection takes to fail."""

REMEMBERED_S = 30.0
"""A failure so long after the last pause is a first one again."""


@dataclass(slots=True)
class _Record:
    """What came of the last tries; `pause_s` is 0 after the first failure."""

    pause_until: float
    pause_s: float = 0.0
    trial_until: float = -math.inf
    tried: bool = False


class Unreachable:
    """See the module. Times are readings of the holder's clock, in seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._records)

    def failed(self, replica_id: str, now: float) -> bool:
        """It could not be reached; whether that is for the queue to know."""
        record = self._records.get(replica_id)
        if record is None or _forgotten(record, now):
            self._records[replica_id] = _Record(now)
            return True
        if now >= record.pause_until:  # else one of those that were under way
            record.pause_s = min(max(2 * record.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            record.pause_until = now + record.pause_s
            record.trial_until, record.tried = -math.inf, False
        return False

    def used(self, replica_id: str, now: float) -> None:
        """A request goes there: after a pause it goes alone at first."""
        record = self._records.get(replica_id)
        if record is not None and record.pause_s and not record.tried:
            record.trial_until, record.tried = now + TRIAL_S, True

    def ended(self, replica_id: str) -> None:
        """A request there has ended, and not by a failure to reach it."""
        record = self._records.get(replica_id)
        if record is not None:
            record.trial_until = -math.inf

    def avoided(self, now: float) -> frozenset[str]:
        """Those where nothing is to be sent now, as long as there are others."""
        for replica_id in [name for name, each in self._records.items() if _forgotten(each, now)]:
            del self._records[replica_id]
        return frozenset(
            name
            for name, record in self._records.items()
            if now < max(record.pause_until, record.trial_until)
        )


def _forgotten(record: _Record, now: float) -> bool:
    return now >= record.pause_until + REMEMBERED_S
