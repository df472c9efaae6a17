"""The GPUs of a simulation, which its environments share."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDING = 1e-9
"""Ten times a tenth of a GPU is one."""


class Claim:
    """One replica's share of the GPUs, from when it is wanted until it is given back.

    Attributes:
        gpus: how many, maybe a fraction.
        granted: called once, when it has them.
        held: whether it has them.
        over: whether it was given back.
    """

    __slots__ = ("gpus", "granted", "held", "over")

    def __init__(self, gpus: float, granted: Callable[[], None]) -> None:
        self.gpus = gpus
        self.granted = granted
        self.held = False
        self.over = False


class GpuPool:
    """Gives GPUs to replicas, first come first served whoever they belong to.

    Which device a fraction lies on is left out: fractions are taken to fit together.
    """

    def __init__(self, total: float | None, changed: Callable[[float], None]) -> None:
        """All are free.

        Args:
            total: how many there are; None: as many as are wanted.
            changed: called with how many are taken, whenever that is another number.
        """
        self.total = total
        self.in_use = 0.0
        self._changed = changed
        self._line: deque[Claim] = deque()

    def ask(self, claim: Claim) -> None:
        """Waits for GPUs; `claim.granted` is called at once where there are enough."""
        self._line.append(claim)
        self._grant()

    def give_back(self, claim: Claim) -> None:
        """Ends a claim, whether it has its GPUs or waits for them."""
        if claim.over:
            return
        claim.over = True
        if claim.held:
            self.in_use = max(self.in_use - claim.gpus, 0.0)
            self._changed(self.in_use)
        self._grant()

    def _grant(self) -> None:
        while self._line:
            claim = self._line[0]
            if not claim.over:
                if self.total is not None and self.in_use + claim.gpus > self.total + ROUNDING:
                    return
                claim.held = True
                self.in_use += claim.gpus
                self._changed(self.in_use)
            self._line.popleft()
            if claim.held:
                claim.granted()
