"""How requests run in a replica: each for its own time, or slowing each other down."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.simulator.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.replica import Replica
    from orchestrator.simulator.request import Request
    from orchestrator.simulator.scenario import Batch, BatchModel


class Limits(NamedTuple):
    """What holds for all requests of an environment.

    Attributes:
        predict_s: how long one runs at most.
        overhead_s: for which it holds its permit, beside its own time.
    """

    predict_s: float
    overhead_s: float


class Execution(Protocol):
    """Plans the ends of requests: `finish` when one has run, `cut` when it ran for too long."""

    def begin(self, request: Request, replica: Replica) -> None:
        """A request has got its permit."""

    def leave(self, request: Request) -> None:
        """It has ended before its time; its replica may be gone."""


class Solo:
    """Requests that do not feel each other: their ends are known when they begin."""

    __slots__ = ("_agenda", "_cut", "_finish", "_overhead_s", "_predict_s")

    def __init__(
        self,
        agenda: Agenda,
        limits: Limits,
        *,
        finish: Callable[[Request], None],
        cut: Callable[[Request], None],
    ) -> None:
        """Nothing runs.

        Args:
            agenda: the clock.
            limits: of each request.
            finish: called when one has run.
            cut: called when one has run for too long, or its caller's deadline has come.
        """
        self._agenda = agenda
        self._predict_s, self._overhead_s = limits
        self._finish = finish
        self._cut = cut

    def begin(self, request: Request, replica: Replica) -> None:
        """A request has got its permit."""
        agenda = self._agenda
        now = agenda.now
        replica.running[request] = None
        request.first_byte_at = now + self._overhead_s + request.first_s
        end = now + self._overhead_s + request.service_s
        limit = min(request.deadline, now + self._predict_s)
        if end <= limit:
            request.finishes_at = end
            agenda.at(end, self._finish, request)
        else:
            request.cut_at = limit
            agenda.at(limit, self._cut, request)

    def leave(self, request: Request) -> None:
        """It has ended before its time."""


class Shared:
    """What one replica has under way, where its requests slow each other down.

    Its next event is planned anew whenever that has moved; the old one finds out
    that it is not due any more.
    """

    __slots__ = ("_batched", "_due", "_limit", "_replica", "_running", "batch")

    def __init__(self, batch: Batch, replica: Replica, batched: Batched) -> None:
        self.batch = batch
        self._replica = replica
        self._batched = batched
        self._running: dict[int, Request] = {}
        self._limit = NEVER
        self._due = NEVER

    def begin(self, request: Request, limit: float) -> None:
        """One begins, which must have ended at `limit`."""
        now = self._batched.agenda.now
        self._running[request.number] = request
        first_s = self.batch.begin(request.number, request.arrival, now)
        request.first_byte_at = now + self._batched.overhead_s + first_s
        request.cut_at = limit
        # Never later than the first limit, but maybe that of one that has left.
        self._limit = min(self._limit, limit)
        self._plan()

    def leave(self, request: Request) -> None:
        """One ends before its time."""
        if self._running.pop(request.number, None) is not None:
            self.batch.leave(request.number, self._batched.agenda.now)
            self._plan()

    def _plan(self) -> None:
        at = min(self.batch.next_end(), self._limit)
        if at != self._due:
            self._due = at
            if at < NEVER:
                agenda = self._batched.agenda
                agenda.at(max(at, agenda.now), self._happen, at)

    def _happen(self, at: float) -> None:
        if at != self._due:
            return
        batched = self._batched
        now = batched.agenda.now
        self._due = NEVER
        ended = [self._running.pop(key) for key in self.batch.ended(now)]
        if not ended and self.batch.next_end() <= now:
            raise RuntimeError(
                f"a batch of {len(self._running)} ends none at {now!r} s, its next end"
            )
        over = []
        if self._limit <= now:
            over = [request for request in self._running.values() if request.cut_at <= now]
            self._limit = min(
                (r.cut_at for r in self._running.values() if r.cut_at > now), default=NEVER
            )
        for request in ended:
            batched.end(request)
        for request in over:
            batched.cut(request)
        self._plan()


class Batched:
    """Requests that slow each other down, as a language model's do."""

    __slots__ = ("_finish", "_model", "_predict_s", "agenda", "cut", "overhead_s")

    def __init__(
        self,
        agenda: Agenda,
        limits: Limits,
        model: BatchModel,
        *,
        finish: Callable[[Request], None],
        cut: Callable[[Request], None],
    ) -> None:
        """Nothing runs; the arguments are those of `Solo`, and how they slow each other down."""
        self.agenda = agenda
        self.overhead_s = limits.overhead_s
        self.cut = cut
        self._model = model
        self._predict_s = limits.predict_s
        self._finish = finish

    def begin(self, request: Request, replica: Replica) -> None:
        """A request has got its permit."""
        if replica.shared is None:
            replica.shared = Shared(self._model.batch(), replica, self)
        replica.running[request] = None
        replica.shared.begin(request, min(request.deadline, self.agenda.now + self._predict_s))

    def leave(self, request: Request) -> None:
        """It has ended before its time."""
        if request.replica.shared is not None:
            request.replica.shared.leave(request)

    def end(self, request: Request) -> None:
        """The model is done with it; its permit comes back once the rest has passed."""
        now = self.agenda.now
        request.finishes_at = now + self.overhead_s
        if self.overhead_s:
            self.agenda.at(request.finishes_at, self._finish, request)
        else:
            self._finish(request)
