"""Policies of somebody's own, as tests name them: `tests.unit.lifecycle.scaling.policies:Fixed`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from orchestrator.lifecycle.scaling.policy import Seen, Wish

HERE = "tests.unit.lifecycle.scaling.policies"


@dataclass
class Fixed:
    replicas: Annotated[int, Ge(0)] = 1

    def wish(self, now: float, seen: Seen) -> Wish:
        return Wish(self.replicas, f"always {self.replicas}")


@dataclass
class Rising:
    """One more each time, so that it shows whether it was made anew."""

    step: int = 1
    replicas: int = field(init=False, default=0)

    def wish(self, now: float, seen: Seen) -> Wish:
        self.replicas += self.step
        return Wish(self.replicas, "up")


class FailsWhileSomebodyWaits:
    def wish(self, now: float, seen: Seen) -> Wish:
        return Wish(4 // (seen.waiting == 0), "nobody waits")


class FailsInOtherWords:
    def __init__(self) -> None:
        self.number = 0

    def wish(self, now: float, seen: Seen) -> Wish:
        self.number += 1
        raise RuntimeError(f"number {self.number}")


@dataclass
class Answers:
    """What is no wish, maybe."""

    replicas: Any

    def wish(self, now: float, seen: Seen) -> Wish:
        return Wish(self.replicas, "said so")


class Recording:
    """Keeps what it saw, for whichever test began last."""

    seen: ClassVar[list[Seen]] = []

    def __init__(self) -> None:
        self.seen.clear()

    def wish(self, now: float, seen: Seen) -> Wish:
        self.seen.append(seen)
        return Wish(0, "only looking")


class Refusing:
    def __init__(self, *, low: int, high: int) -> None:
        if low > high:
            raise ValueError("low must be at most high")

    def wish(self, now: float, seen: Seen) -> Wish:
        return Wish(0, "")


class NoPolicy:
    pass
