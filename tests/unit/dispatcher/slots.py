"""Permits kept in memory, shared by any number of holders, in the order of their ranks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.errors import Draining, ParkTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

AGING_S = 60.0


@dataclass(eq=False)
class SlotPermit:
    replica_id: str
    address: str
    cold_start: bool = False


@dataclass(eq=False)
class Waiter:
    rank: float
    level: int
    holder: Holder
    future: asyncio.Future[SlotPermit] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Slots:
    """The slots of one environment.

    Attributes:
        out: permits that are out now.
        line: who waits.
        refused: acquisitions that were refused.
        released: (replica, failed) of every release.
        refusal: raised by every acquisition, if set; also in those that wait.
        cold: whether permits are of replicas that have just started.
    """

    def __init__(self) -> None:
        self.free: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self.shunned: set[str] = set()
        self.out: set[SlotPermit] = set()
        self.line: list[Waiter] = []
        self.released: list[tuple[str, bool]] = []
        self.refused = 0
        self.cold = False
        self.holders: list[Holder] = []
        self._refusal: Exception | None = None
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def holder(self, settings: dict[str, Any]) -> Holder:
        holder = Holder(self, settings)
        self.holders.append(holder)
        return holder

    @property
    def refusal(self) -> Exception | None:
        return self._refusal

    @refusal.setter
    def refusal(self, refusal: Exception | None) -> None:
        self._refusal = refusal
        if refusal is not None:
            for waiter in self.line:
                if not waiter.future.done():
                    waiter.future.set_exception(refusal)
            self.line.clear()

    def add(self, address: str, slots: int = 1, name: str = "r1") -> None:
        self.addresses[name] = address
        self.free[name] = slots
        self.shunned.discard(name)
        self.grant()

    def take(self) -> SlotPermit | None:
        for name, free in self.free.items():
            if free and name not in self.shunned:
                self.free[name] -= 1
                permit = SlotPermit(name, self.addresses[name], self.cold)
                self.out.add(permit)
                return permit
        return None

    def grant(self) -> None:
        for waiter in sorted(self.line, key=lambda waiter: waiter.rank):
            if waiter.future.done():  # it is about to leave
                continue
            permit = self.take()
            if permit is None:
                break
            self.line.remove(waiter)
            waiter.future.set_result(permit)
        self.tell()

    def give_back(self, permit: SlotPermit, *, failed: bool) -> None:
        self.out.remove(permit)  # a second release of the same one is a KeyError
        self.released.append((permit.replica_id, failed))
        self.free[permit.replica_id] += 1
        if failed:
            self.shunned.add(permit.replica_id)
        self.grant()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Waits until something about the slots holds."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append((condition, future))
        async with asyncio.timeout(timeout_s):
            await future

    def tell(self) -> None:
        for condition, future in self._watchers:
            if not future.done() and condition():
                future.set_result(None)


class Holder:
    """One dispatcher's permit client."""

    def __init__(self, slots: Slots, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.closed = False
        self._slots = slots

    @property
    def waiting(self) -> list[Waiter]:
        return [waiter for waiter in self._slots.line if waiter.holder is self]

    def try_acquire(self) -> SlotPermit | None:
        slots = self._slots
        return None if slots.line or slots.refusal is not None else slots.take()

    async def acquire(self, *, deadline: float, ticket: float | None, level: int) -> SlotPermit:
        slots = self._slots
        now = time.monotonic()
        assert ticket is not None
        assert ticket <= now, "nothing comes from the future"
        assert not self.closed
        if slots.refusal is not None:
            slots.refused += 1
            slots.tell()
            raise slots.refusal
        waiter = Waiter(ticket + level * AGING_S, level, self)
        slots.line.append(waiter)
        slots.grant()
        try:
            async with asyncio.timeout(max(0.0, deadline - now)):
                return await waiter.future
        except TimeoutError:
            raise ParkTimeout(time.monotonic() - now) from None
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                slots.give_back(future.result(), failed=False)
            raise
        finally:
            if waiter in slots.line:
                slots.line.remove(waiter)
            slots.tell()

    def release(self, permit: SlotPermit, *, failed: bool = False) -> None:
        self._slots.give_back(permit, failed=failed)

    def reconfigure(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    async def close(self) -> None:
        self.closed = True
        for waiter in self.waiting:
            self._slots.line.remove(waiter)
            if not waiter.future.done():
                waiter.future.set_exception(Draining("the environment"))
