"""What holders and queues tell each other about permits.

A *permit* is the right to run one request on one slot of one replica. A
*holder* (a router, a dispatcher) keeps its own waiters in line and asks the
environment's queue for permits; the queue sees no request, only summaries.

The protocol is made of states, not of changes, so that a message may be lost,
repeated or late and nothing leaks:

* a holder's `Exchange` says which grants it has heard (`acked`) and how many
  permits it holds after those (`held`), so a permit that is no longer in
  `held` has come back;
* a queue's `Reply` repeats every grant that is not acked.

Both sides number what they say (`seq`, `stamp`, `Grant.number`) and drop what
is older than what they know. A *term* names one registration of a holder with
one life of a queue; a new term starts when either of them was away for longer
than the lease, and what was said in an older term no longer counts.

Times cross the border as ages: the clocks of two machines share no zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class WorkClass(IntEnum):
    """Who waits: a caller on an open connection, or accepted asynchronous work."""

    SYNC = 0
    ASYNC = 1


HEADS = 32
"""How many of its first waiters a holder describes in an exchange."""


@dataclass(frozen=True, slots=True)
class Head:
    """One of a holder's first waiters.

    Attributes:
        age_s: now minus its rank (see `orchestrator.lifecycle.line`); larger ranks before.
        avoid: replicas that it should not run on, because they failed it.
        prefer: the replica it would like, if it has room.
    """

    age_s: float
    avoid: frozenset[str] = frozenset()
    prefer: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A holder's summary of itself.

    Attributes:
        holder: its name, unique for the life of its process.
        seq: number of this message, rising.
        term: the term it believes in; empty before the first reply.
        acked: highest grant number heard in that term.
        held: permits held, kept or in use, per replica.
        work: the class of all its waiters.
        waiting: how many wait.
        waiting_bytes: payload bytes of those that wait.
        heads: its first waiters, best first, at most `HEADS`.
        in_use: permits in use now.
        load_s: requests waiting or running, integrated over its life (request-seconds).
        uptime_s: seconds since its start.
        served: requests that released a permit, over its life.
        busy_s: seconds for which those requests held their permits, over its life.
        rejected: requests turned away because there was no room, over its life.
        failed: replicas that could not be reached.
        known_replicas: version of the replica list that it has.
    """

    holder: str
    seq: int
    term: str = ""
    acked: int = 0
    held: dict[str, int] = field(default_factory=dict)
    work: WorkClass = WorkClass.SYNC
    waiting: int = 0
    waiting_bytes: int = 0
    heads: tuple[Head, ...] = ()
    in_use: int = 0
    load_s: float = 0.0
    uptime_s: float = 0.0
    served: int = 0
    busy_s: float = 0.0
    rejected: int = 0
    failed: frozenset[str] = frozenset()
    known_replicas: int = -1


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission number `number` of a term: one slot of `replica_id`.

    `due` says that it is for this holder whoever ranks before elsewhere: it is
    given for the minimum share of asynchronous work, or because those who rank
    before are to avoid that replica.
    """

    number: int
    replica_id: str
    due: bool = False


@dataclass(frozen=True, slots=True)
class Usable:
    """A replica that may be used: where it answers, and how many permits it can have out."""

    replica_id: str
    address: str
    slots: int


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """Why an environment serves nobody now.

    Attributes:
        reason: one sentence.
        log_tail: last log lines of the failed start, oldest first.
        retry_after_s: seconds until a start is tried again for whoever asks then.
    """

    reason: str
    log_tail: tuple[str, ...] = ()
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a queue tells a holder, in answer to an exchange or to a watch.

    Attributes:
        term: the term in which it speaks.
        stamp: number of this reply in the queue's life, rising.
        seq: the last exchange of this holder that it took in.
        grants: every grant of the term that is not acked, in order.
        alone: no other holder is known.
        elsewhere_s: age of the best waiter at other holders; None where nobody waits,
            `inf` where the minimum share of asynchronous work is due.
        others_waiting: how many synchronous requests wait at other holders, those left out
            for whom a grant is on its way.
        others_bytes: payload bytes of synchronous requests that wait at other holders.
        replicas_version: version of the replica list.
        replicas: the usable replicas, oldest first; None where the holder has this version.
        unhealthy: set while the environment serves nobody.
    """

    term: str
    stamp: int
    seq: int
    grants: tuple[Grant, ...] = ()
    alone: bool = True
    elsewhere_s: float | None = None
    others_waiting: int = 0
    others_bytes: int = 0
    replicas_version: int = 0
    replicas: tuple[Usable, ...] | None = None
    unhealthy: Unhealthy | None = None
