"""What an environment's queue knows of one holder."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.lifecycle.permits import Exchange, Grant, Head


@dataclass(slots=True, eq=False)
class RegisteredHolder:
    """A holder, from its last exchange and what it was granted since.

    Times are readings of the queue's clock, in seconds.
    """

    term: str
    entered_from: str
    heard: float
    message: Exchange
    granted: int = 0
    pending: deque[Grant] = field(default_factory=deque)
    out: Counter[str] = field(default_factory=Counter)
    ranks: tuple[float, ...] = ()
    load: float = 0.0
    load_until: float = -math.inf
    told: tuple[object, ...] = ()

    @property
    def unmet(self) -> int:
        """Waiters for whom no grant is on its way."""
        return max(self.message.waiting - len(self.pending), 0)

    @property
    def next_rank(self) -> float:
        """Rank of the first waiter for whom no grant is on its way, as far as it is known."""
        return self.ranks[min(len(self.pending), len(self.ranks) - 1)]

    @property
    def next_heads(self) -> list[tuple[float, Head]]:
        """The known waiters for whom no grant is on its way, or the last, with their ranks."""
        start = min(len(self.pending), len(self.ranks) - 1)
        return list(zip(self.ranks[start:], self.message.heads[start:], strict=True))

    @property
    def described(self) -> bool:
        """Whether the next waiter's rank is known exactly."""
        return len(self.pending) < len(self.ranks)
