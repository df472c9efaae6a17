"""A holder of permits: one router's (or dispatcher's) side of one environment.

It keeps its waiters in line, its permits, and what it last heard of the rest,
and decides who runs where. Its shell sends `summary` when `due` says so, feeds
every reply to `hear`, and starts the requests of the assignments it gets back.

Three ways for a permit to reach a waiter, cheapest first: *kept*, a permit that
lay idle here is used again without asking; *handed over*, a permit that comes
free goes to this holder's best waiter where nobody elsewhere ranks before it;
*granted*, the queue gives one to the holder whose best waiter ranks first.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.lifecycle.line import Line, Waiter
from orchestrator.lifecycle.permits import (
    HEADS,
    Exchange,
    Head,
    Reply,
    Unhealthy,
    Usable,
    WorkClass,
)
from orchestrator.lifecycle.settings import FullPolicy, QueueSettings
from orchestrator.lifecycle.unreachable import Unreachable

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

LAZY_S = 0.2
"""How long a change that nobody waits for may go unreported."""

RENEWALS = 5
"""Exchanges per lease: that many in a row must be lost for a permit to be lost."""

_NONE: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Permit:
    """The right to run one request on one slot of a replica, while it is not given up."""

    replica_id: str
    address: str
    since: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """A waiter that has left the line with a permit."""

    waiter: Waiter
    permit: Permit


class Refusal(StrEnum):
    """Why a waiter was turned away by its holder."""

    FULL = "queue full"
    NO_SLOT = "no free slot"
    TIMEOUT = "deadline"
    UNHEALTHY = "environment unhealthy"


@dataclass(slots=True)
class Outcome:
    """What became of waiters through one event; each waiter appears once in its life."""

    assigned: list[Assignment] = field(default_factory=list)
    refused: list[tuple[Waiter, Refusal]] = field(default_factory=list)


@dataclass(slots=True)
class _Elsewhere:
    """What is known of other holders: everything ages from `heard_at`."""

    rank: float | None = None
    alone: bool = False
    waiting: int = 0
    bytes: int = 0
    heard_at: float = -math.inf


class Holder:
    """See the module. All times are readings of one monotonic clock, in seconds."""

    def __init__(
        self, name: str, settings: QueueSettings, now: float, work: WorkClass = WorkClass.SYNC
    ) -> None:
        self.name = name
        self.work = work
        self.settings = settings
        self.line = Line(settings.aging_s)
        self.unhealthy: Unhealthy | None = None
        self._unhealthy_until = -math.inf
        self._term = ""
        self._old_terms: deque[str] = deque(maxlen=8)
        self._acked = 0
        self._stamp = -1
        self._seq = 0
        self._replicas: dict[str, Usable] = {}
        self._capacity = 0
        self._replicas_version = -1
        self._suspended: set[str] = set()
        self._unreachable = Unreachable()
        self._kept: list[Permit] = []
        self._in_use: set[Permit] = set()
        self._elsewhere = _Elsewhere()
        self._valid_until = -math.inf
        self._urgent = True
        self._lazy = False
        self._impatient = False
        self._sent_at = -math.inf
        self._born = now
        self._counted_at = now
        self._load_s = 0.0
        self._served = 0
        self._busy_s = 0.0
        self._rejected = 0
        self._failed: dict[str, int] = {}

    # Requests

    def take(
        self, now: float, avoid: AbstractSet[str] = frozenset(), prefer: str | None = None
    ) -> Permit | None:
        """A kept permit for a request, where one is at hand and nobody is in line.

        Args:
            now: the holder's clock.
            avoid: replicas that failed the request, shunned while there are others.
            prefer: the replica that it would like.
        """
        if not self._kept or len(self.line) or now >= self._valid_until:
            return None
        place = -1
        if avoid or prefer is not None:
            fitting = [i for i, p in enumerate(self._kept) if self._fits(avoid, p.replica_id)]
            if not fitting:
                return None
            place = next((i for i in fitting if self._kept[i].replica_id == prefer), fitting[-1])
        permit = self._kept.pop(place)
        self._use(permit, now)
        return permit

    def park(self, waiter: Waiter, now: float) -> Refusal | None:
        """Put a request in line, or say why not.

        A waiter may come back with the arrival time that it had: it gets its
        old place. The line's bound does not count for it.
        """
        if self.unhealthy is not None and now < self._unhealthy_until:
            return Refusal.UNHEALTHY
        if waiter.arrived >= now and self._full(waiter, now):
            self._rejected += 1
            self._lazy = True
            return Refusal.FULL
        # Asynchronous work has been accepted: the policy is for callers that wait.
        queues = self.settings.policy is FullPolicy.QUEUE or self.work is WorkClass.ASYNC
        waiter.patient = waiter.patient and queues
        waiter.known_after = self._seq
        # The first in line is told by the exchange that it causes: what was heard before
        # nobody waited here may be old.
        waiter.cold = waiter.cold or (len(self.line) > 0 and not self._replicas)
        self._count(now)
        # Behind somebody who is known to wait, or where every slot is in use here,
        # this one is news only for scaling.
        first = not len(self.line) and self._may_gain()
        self._urgent = self._urgent or first or not waiter.patient or bool(self._kept)
        self._lazy = True
        self._impatient = self._impatient or not waiter.patient
        # What is kept and not taken is of replicas that this waiter avoids.
        self._kept.clear()
        self.line.add(waiter)
        return None

    def leave(self, waiter: Waiter, now: float) -> bool:
        """A waiter's caller has gone; False where the waiter is no longer in line."""
        self._count(now)
        self._lazy = True
        return self.line.remove(waiter)

    def release(self, permit: Permit, now: float, *, failed: bool = False) -> Outcome:
        """A request has ended (or was not run): its permit goes on.

        Args:
            permit: as it was assigned or taken.
            now: the holder's clock.
            failed: its replica could not be reached; it is avoided until it reports again,
                and for a pause of this holder's own if it then fails again.

        Raises:
            ValueError: the permit was given up before.
        """
        if permit not in self._in_use:
            raise ValueError("the permit is not in use")
        self._count(now)
        self._in_use.discard(permit)
        self._served += 1
        self._busy_s += now - permit.since
        self._lazy = True
        if failed:
            self._suspend(permit.replica_id, now)
        elif self._unreachable:
            self._unreachable.ended(permit.replica_id)
        return self._place(permit, now)

    def expire(self, now: float) -> Outcome:
        """Turn away those whose deadline has come, give back permits kept for too long."""
        outcome = Outcome()
        self._count(now)
        expired = self.line.expired(now)
        if expired:
            self._lazy = True
            outcome.refused = [(waiter, Refusal.TIMEOUT) for waiter in expired]
        if now >= self._valid_until:
            self._kept.clear()
        elif self._kept and self._kept[0].since + self.settings.keep_s <= now:
            # The same sum as in `next_expiry`, to the last bit: else it might say now for ever.
            keep_s = self.settings.keep_s
            self._kept = [permit for permit in self._kept if permit.since + keep_s > now]
            self._lazy = True
        return outcome

    def next_expiry(self, now: float) -> float | None:
        """When `expire` has something to do."""
        times = [self.line.next_deadline()]
        if self._kept:
            times.append(min(self._kept[0].since + self.settings.keep_s, self._valid_until))
        known = [time for time in times if time is not None]
        return max(min(known), now) if known else None

    @property
    def in_use(self) -> int:
        """Permits that requests run on now."""
        return len(self._in_use)

    @property
    def has_replicas(self) -> bool:
        """Whether there is any replica, as far as was heard last."""
        return bool(self._replicas)

    def place(self, waiter: Waiter, now: float) -> tuple[int, float]:
        """A waiter's place: how many here are served before it, and the age of its rank.

        Raises:
            ValueError: it is not in line.
        """
        return self.line.position(waiter), now - self.line.rank(waiter)

    @property
    def kept(self) -> int:
        """Permits that lie idle here."""
        return len(self._kept)

    def retry_after_s(self, now: float) -> float:
        """How long a refused caller should wait: what the line takes to empty, 1-60 s."""
        if self.unhealthy is not None:
            return max(self._unhealthy_until - now, 1.0)
        mean_s = self._busy_s / self._served if self._served else 0.0
        waiting = len(self.line) + self._elsewhere.waiting
        return min(max(waiting * mean_s / max(self._capacity, 1), 1.0), 60.0)

    # The wire

    @property
    def urgent(self) -> bool:
        """Whether an exchange is due at once."""
        return self._urgent

    @property
    def idle(self) -> bool:
        """Whether there is nothing here that the queue would have to know, or be asked for."""
        busy = self._in_use or self._kept or len(self.line)
        return not (busy or self._urgent or self._lazy)

    def due(self, now: float) -> float:
        """When the next exchange should be sent; a time not after `now` means at once."""
        if self._urgent:
            return now
        period = self.settings.lease_s / RENEWALS
        if len(self.line) and not self._elsewhere.alone:
            period = min(period, self.settings.handover_s / 2)
        if self._lazy:
            period = min(period, LAZY_S)
        return self._sent_at + period

    def summary(self, now: float) -> Exchange:
        """The next exchange; it is to be sent now."""
        self._count(now)
        if now >= self._valid_until:
            self._kept.clear()
        self._seq += 1
        self._urgent = self._lazy = False
        self._sent_at = now
        shunned = self._shunned(now)
        held = Counter(permit.replica_id for permit in self._in_use)
        held.update(permit.replica_id for permit in self._kept)
        return Exchange(
            holder=self.name,
            seq=self._seq,
            term=self._term,
            acked=self._acked,
            held=dict(held),
            work=self.work,
            waiting=len(self.line),
            waiting_bytes=self.line.bytes,
            heads=tuple(
                Head(
                    now - self.line.rank(waiter),
                    waiter.avoid | shunned if shunned else waiter.avoid,
                    waiter.prefer,
                )
                for waiter in self.line.first(HEADS)
            ),
            in_use=len(self._in_use),
            load_s=self._load_s,
            uptime_s=now - self._born,
            served=self._served,
            busy_s=self._busy_s,
            rejected=self._rejected,
            failed=frozenset(self._failed),
            known_replicas=self._replicas_version,
        )

    def give_back(self) -> None:
        """Keep nothing for later any more: this holder is about to end."""
        if self._kept:
            self._kept.clear()
            self._urgent = True

    def seen(self) -> tuple[str, int]:
        """Term and highest grant heard: what a watch need not repeat."""
        return self._term, self._acked

    def lost(self) -> None:
        """An exchange failed: its news must be told again."""
        self._lazy = True

    def hear(self, reply: Reply, sent_at: float, now: float) -> Outcome:
        """Take in a reply.

        Args:
            reply: in answer to a message of this holder.
            sent_at: when that message was sent: the lease counts from there, so
                that it ends here before it ends at the queue.
            now: the holder's clock.
        """
        outcome = Outcome()
        if reply.term in self._old_terms or now - sent_at >= self.settings.lease_s:
            return outcome
        if reply.term != self._term:
            self._enter(reply.term)
        self._failed = {name: seq for name, seq in self._failed.items() if seq > reply.seq}
        self._valid_until = max(self._valid_until, sent_at + self.settings.lease_s)
        if reply.stamp > self._stamp:
            self._stamp = reply.stamp
            self._learn(reply, now)
        for grant in reply.grants:
            if grant.number > self._acked:
                self._acked = grant.number
                usable = self._replicas.get(grant.replica_id)
                granted = Permit(grant.replica_id, usable.address if usable else "", now)
                outcome.assigned.extend(self._place(granted, now, due=grant.due).assigned)
        self._settle(reply, outcome, now)
        if len(self.line) and reply.grants and self._may_gain():
            self._urgent = True
        return outcome

    # Inside

    def _may_gain(self) -> bool:
        """Whether asking can bring a permit: not where every slot there is is held here."""
        held = len(self._in_use) + len(self._kept)
        return not self._elsewhere.alone or held < self._capacity or not self._capacity

    def _full(self, waiter: Waiter, now: float) -> bool:
        waiting, size = len(self.line), self.line.bytes + waiter.size
        # A holder that was idle has not heard how the lines elsewhere have become shorter.
        if now - self._elsewhere.heard_at <= self.settings.lease_s / RENEWALS:
            waiting += self._elsewhere.waiting
            size += self._elsewhere.bytes
        return waiting >= self.settings.max_requests or size > self.settings.max_bytes

    def _count(self, now: float) -> None:
        """Add to the integral of load up to now; called before either term changes."""
        self._load_s += (len(self._in_use) + len(self.line)) * (now - self._counted_at)
        self._counted_at = now

    def _use(self, permit: Permit, now: float) -> None:
        self._count(now)
        permit.since = now
        self._in_use.add(permit)
        if self._unreachable:
            self._unreachable.used(permit.replica_id, now)
        self._lazy = True

    def _suspend(self, replica_id: str, now: float) -> None:
        if replica_id in self._suspended or self._unreachable.failed(replica_id, now):
            self._failed[replica_id] = self._seq + 1
            self._suspended.add(replica_id)
        self._kept = [permit for permit in self._kept if permit.replica_id != replica_id]
        self._urgent = True

    def _place(self, permit: Permit, now: float, *, due: bool = False) -> Outcome:
        """Give a permit that nobody uses to a waiter, keep it, or (by forgetting it) give it back.

        The next exchange no longer counts a forgotten permit as held, which
        returns it. One that is `due` goes to this line, whoever waits elsewhere.
        """
        usable = permit.replica_id in self._replicas and permit.replica_id not in self._suspended
        if not usable or now >= self._valid_until:
            self._urgent = True
            return Outcome()
        waiter = self._next_for(permit.replica_id, now) if due or self._is_next(now) else None
        if waiter is not None:
            self._use(permit, now)
            self.line.remove(waiter)
            return Outcome(assigned=[Assignment(waiter, permit)])
        waited_for = len(self.line) or self._elsewhere.rank is not None
        if waited_for or permit.replica_id in self._shunned(now):
            self._urgent = True
        else:
            permit.since = now
            self._kept.append(permit)
        return Outcome()

    def _is_next(self, now: float) -> bool:
        """Whether nobody elsewhere, as far as is known lately enough, ranks before this line."""
        best = self.line.best()
        other = self._elsewhere
        if best is None or (not other.alone and now - other.heard_at > self.settings.handover_s):
            return False
        return other.rank is None or self.line.rank(best) <= other.rank

    def _next_for(self, replica_id: str, now: float) -> Waiter | None:
        """The first in line who may run there."""
        best = self.line.best()
        shunned = self._shunned(now)
        if best is None or not (replica_id in best.avoid or replica_id in shunned):
            return best
        return next((w for w in self.line if self._fits(w.avoid | shunned, replica_id)), None)

    def _shunned(self, now: float) -> frozenset[str]:
        """Replicas that only this holder cannot reach."""
        return self._unreachable.avoided(now) if self._unreachable else _NONE

    def _fits(self, avoid: AbstractSet[str], replica_id: str) -> bool:
        """Whether a replica will do; where all that there are are to be avoided, any does."""
        if replica_id not in avoid:
            return True
        return not (self._replicas.keys() - self._suspended - avoid)

    def _enter(self, term: str) -> None:
        """A new term: grants are counted anew, and what lay idle belongs to the old one."""
        self._old_terms.append(self._term)
        self._term = term
        self._acked = 0
        self._stamp = -1
        self._replicas_version = -1
        self._kept.clear()

    def _learn(self, reply: Reply, now: float) -> None:
        rank = None if reply.elsewhere_s is None else now - reply.elsewhere_s
        self._elsewhere = _Elsewhere(
            rank, reply.alone, reply.others_waiting, reply.others_bytes, now
        )
        if reply.replicas is not None:
            self._replicas = {usable.replica_id: usable for usable in reply.replicas}
            self._capacity = sum(usable.slots for usable in reply.replicas)
            self._replicas_version = reply.replicas_version
            # The queue leaves out a replica that failed somebody until it reports again,
            # once it has been told.
            self._suspended = set(self._failed)
        self.unhealthy = reply.unhealthy
        if reply.unhealthy is not None:
            self._unhealthy_until = now + reply.unhealthy.retry_after_s
        if not self._replicas:
            for waiter in self.line:
                waiter.cold = True
        if self._kept and (rank is not None or reply.replicas is not None):
            self._kept = [p for p in self._kept if rank is None and p.replica_id in self._replicas]
            self._urgent = True

    def _settle(self, reply: Reply, outcome: Outcome, now: float) -> None:
        """Turn away those that the queue has now answered with a no."""
        if reply.unhealthy is None and not self._impatient:
            return
        answered = [waiter for waiter in self.line if waiter.known_after < reply.seq]
        if reply.unhealthy is not None:
            gone = [(waiter, Refusal.UNHEALTHY) for waiter in answered]
        else:
            gone = [(waiter, Refusal.NO_SLOT) for waiter in answered if not waiter.patient]
            self._rejected += len(gone)
        self._count(now)
        for waiter, _ in gone:
            self.line.remove(waiter)
        self._lazy = self._lazy or bool(gone)
        outcome.refused.extend(gone)
        self._impatient = any(not waiter.patient for waiter in self.line)

    def reconfigure(self, settings: QueueSettings) -> None:
        """Take on other settings; nobody loses a place."""
        if settings.aging_s != self.settings.aging_s:
            self.line.reorder(settings.aging_s)
        self.settings = settings
