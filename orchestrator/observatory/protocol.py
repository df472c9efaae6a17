"""What sources and the observatory say to each other, and what routers ask of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from orchestrator.telemetry.timeline import RequestFilter, Timeline

if TYPE_CHECKING:
    from orchestrator.telemetry.instruments import Batch

HEARTBEAT_S = 5.0
"""A source that has nothing to tell says so this often, unless it is asked to be sparing."""

SILENT_AFTER = 3.0
"""Heartbeats that may be missed until a source counts as gone."""

WATCH_S = 10.0
"""How long a source's watch is held open."""

CALL_S = 2.0
"""How long a call that is not held open may take."""

ANSWER_S = 2.0
"""How long sources have to answer a question."""

LONGEST_WAIT_S = 5.0
"""How long a question for log lines may wait for the next one."""


class Part(StrEnum):
    """What kind of process a source is."""

    ROUTER = "router"
    DISPATCHER = "dispatcher"
    QUEUE = "queue"
    REPLICA = "replica"


class Source(msgspec.Struct, array_like=True, frozen=True):
    """A process that tells.

    Attributes:
        id: no other process ever has it.
        part: a `Part`.
        model, environment: that it works for; empty: for all.
        replica: id of the replica that it is; empty: it is none.
        version: of this software.
    """

    id: str
    part: str
    model: str = ""
    environment: str = ""
    replica: str = ""
    version: str = ""


class Push(msgspec.Struct, array_like=True):
    """What a source tells at a time. One that was not acknowledged comes again, the same bytes.

    Attributes:
        source: who it is.
        seq: 1, 2, ...; one that was heard already changes nothing.
        within_s: the next one comes within so many seconds; 0: it was the last.
        batch: MessagePack of a `Batch`.
        gauges: whether those of the batch are to be taken; else they are as they were.
        state: sections of the source's state that changed, by name.
    """

    source: Source
    seq: int
    within_s: float
    batch: bytes
    gauges: bool = True
    state: dict[str, bytes] = {}


class Ack(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a push.

    Attributes:
        known: false where the source was new: it is to tell all of its state again.
        pause_s: seconds until the next push, at least; longer the more sources there are.
    """

    known: bool
    pause_s: float


class Query(msgspec.Struct, array_like=True, frozen=True):
    """A question to a source.

    Attributes:
        id: to be named in the answer.
        name: what is asked; sources that do not know it answer that they cannot.
        argument: depends on it.
    """

    id: int
    name: str
    argument: bytes


# Questions that there are: their names, arguments and answers (MessagePack all).

REQUESTS = "requests"
"""Argument: `RequestFilter`. Answer: `list[Timeline]`, newest first. Routers."""

REQUEST = "request"
"""Argument: the id, as UTF-8 text. Answer: `Found`. Routers and dispatchers."""

LOGS = "logs"
"""Argument: `LogsAsked`. Answer: `list[LogLine]`, oldest first. Replicas."""


class Live(msgspec.Struct, kw_only=True):
    """A request that is under way.

    Attributes:
        timeline: as far as it has come; its `outcome` is its state, `seconds` until now.
        since: Unix time at which that state began.
        replica: that has it; empty: none.
        ahead: how many are before it in line; None: it does not wait, or nobody knows.
    """

    timeline: Timeline
    since: float
    replica: str = ""
    ahead: int | None = None


class Found(msgspec.Struct):
    """What a source knows of the requests with one id.

    Attributes:
        live: that are under way.
        ended: that have ended, newest first.
    """

    live: list[Live] = []
    ended: list[Timeline] = []


class LogsAsked(msgspec.Struct, frozen=True):
    """Which log lines of a replica are wanted.

    Attributes:
        request_id: only those of it; empty: all.
        after: only those with a higher number.
        limit: the newest so many.
        wait_s: seconds to wait for one where there is none, at most `LONGEST_WAIT_S`.
    """

    request_id: str = ""
    after: int = 0
    limit: int = 1000
    wait_s: float = 0.0


class Recent(msgspec.Struct):
    """Timelines from routers' memory.

    Attributes:
        timelines: newest first.
        routers: how many were asked.
        missing: how many of them did not answer in time.
    """

    timelines: list[Timeline]
    routers: int = 0
    missing: int = 0


class Sighted(msgspec.Struct):
    """What all routers and dispatchers know of the requests with one id.

    Attributes:
        found: all of it.
        missing: how many of them did not answer in time.
    """

    found: Found
    missing: int = 0


class ReplicaLogs(msgspec.Struct):
    """Log lines of one replica.

    Attributes:
        replica: its id.
        lines: MessagePack of `list[LogLine]`.
    """

    replica: str
    lines: bytes


class Logs(msgspec.Struct):
    """Log lines of an environment's replicas.

    Attributes:
        replicas: those that answered.
        missing: how many did not in time.
        last_failure: the last lines of the last replica that failed, oldest first.
        failed: its id; empty: unknown.
        failed_at: Unix time of that.
    """

    replicas: list[ReplicaLogs]
    missing: int = 0
    last_failure: list[str] = []
    failed: str = ""
    failed_at: float = 0.0


class Row(msgspec.Struct, array_like=True):
    """An environment at a glance: its JSON, and the version that has that."""

    model: str
    environment: str
    version: int
    data: bytes


class Overview(msgspec.Struct, array_like=True):
    """What has changed of all environments.

    Attributes:
        version: to be named the next time.
        full: whether these are all environments, and not only those that changed.
        rows: of them.
        gone: (model, environment) of those that are no more.
    """

    version: int
    full: bool
    rows: list[Row]
    gone: list[tuple[str, str]] = []


class ObservatoryUnavailable(Exception):  # noqa: N818 - a fact, like those of `lifecycle.errors`
    """The observatory did not answer in time, or died with the call."""


class Hub(Protocol):
    """The observatory as sources see it; every call may raise `ObservatoryUnavailable`."""

    async def push(self, message: bytes) -> Ack:
        """Takes in a `Push` as MessagePack."""

    async def watch(self, source_id: str) -> list[Query]:
        """Questions to a source; held for `WATCH_S` while there is none."""

    async def answer(self, source_id: str, query_id: int, payload: bytes | None) -> None:
        """A source's answer; None: it has none to give."""


class Observatory(Hub, Protocol):
    """The observatory as routers see it; every call may raise `ObservatoryUnavailable`."""

    async def metrics(self, accept: str) -> tuple[str, bytes]:
        """The exposition of all metrics: content type and text, for an `Accept` header."""

    async def overview(self, since: int) -> Overview:
        """All environments, or those that changed after a version."""

    async def history(self, model: str, environment: str, minutes: int) -> bytes | None:
        """The last minutes of an environment, as JSON; None: it is not known."""

    async def starts(self, model: str, environment: str) -> list[dict[str, Any]]:
        """Starts of an environment's replicas (see `orchestrator.telemetry.starts`)."""

    async def requests(self, wanted: RequestFilter) -> Recent:
        """Timelines that routers hold."""

    async def request(self, request_id: str) -> Sighted:
        """What routers and dispatchers know of an id."""

    async def logs(
        self,
        model: str,
        environment: str,
        replica: str,
        asked: dict[str, LogsAsked],
        default: LogsAsked,
    ) -> Logs:
        """Log lines of replicas.

        Args:
            model: the environment's.
            environment: whose replicas.
            replica: only that one; empty: all.
            asked: what is asked of single replicas, by their ids.
            default: what is asked of all others.
        """


class Nowhere:
    """A hub for processes that run without an observatory: it never answers."""

    async def push(self, message: bytes) -> Ack:  # noqa: ARG002
        """See `Hub`."""
        raise ObservatoryUnavailable("there is no observatory here")

    async def watch(self, source_id: str) -> list[Query]:  # noqa: ARG002
        """See `Hub`."""
        raise ObservatoryUnavailable("there is no observatory here")

    async def answer(  # noqa: D102
        self,
        source_id: str,  # noqa: ARG002
        query_id: int,  # noqa: ARG002
        payload: bytes | None,  # noqa: ARG002
    ) -> None:
        raise ObservatoryUnavailable("there is no observatory here")


def encoded(batch: Batch) -> bytes:
    """A batch, as a `Push` has it."""
    return msgspec.msgpack.encode(batch)
