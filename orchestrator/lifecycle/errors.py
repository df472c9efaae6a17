# ruff: noqa: N818 - these names are facts (`QueueFull`), not kinds of error; the root says Error
"""Every way in which a request ends without the model's own answer.

    RequestError
     ├── Rejected: never queued, nothing was touched
     │    ├── BadRequest                 a part of the request is wrong; names the field
     │    ├── Unauthorized               no valid key
     │    ├── Forbidden                  the key does not reach that far
     │    ├── NotFound
     │    │    ├── UnknownAddress        no such path
     │    │    ├── UnknownModel
     │    │    ├── UnknownEnvironment
     │    │    ├── UnknownDeployment
     │    │    └── UnknownRequest        no asynchronous request, key or dead letter of this id
     │    ├── MethodNotAllowed
     │    ├── PayloadTooLarge
     │    ├── QueueFull                  the environment's line has no room
     │    ├── NoFreeSlot                 no room now, and the environment does not queue
     │    ├── AsyncQueueFull             too many asynchronous requests are open
     │    ├── IdempotencyConflict        the idempotency key stands for another body
     │    ├── Draining                   what was asked is on its way out
     │    ├── QueueUnreachable           the environment's queue does not answer
     │    ├── ObservatoryUnreachable     what is known of the system cannot be had
     │    ├── TooManyWatchers            no room for another stream of events
     │    └── StoreUnreachable           the store does not answer
     │         ├── NoStore               there is none, or none that can be opened
     │         └── ResultUnreadable      a result that is kept elsewhere cannot be read
     ├── Evicted: queued, not run
     │    ├── ParkTimeout                no permit in time
     │    └── EnvironmentUnhealthy       its replicas do not start
     ├── Failed: a replica had it
     │    ├── ReplicaLost                the replica died or spoke nonsense; retries used up
     │    ├── PredictTimeout             the model took too long as a whole
     │    ├── FirstByteTimeout           ... to begin
     │    └── ChunkGapTimeout            ... between two chunks
     ├── DeadlineExceeded                the caller's own deadline, wherever it struck
     └── CallerGone                      nobody waits for the answer any more

Catch a root to ask "did it run?", a leaf to act on the fact. What each becomes
in HTTP is decided in one place, `orchestrator.router.responses`.

Every class keeps its facts as attributes and gives them to `Exception` as
arguments, so it can be pickled; `str()` is a sentence for the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RequestError(Exception):
    """Root of the tree."""


class Rejected(RequestError):
    """Refused before it was queued: safe to send again, nothing was run."""


class Evicted(RequestError):
    """Taken out of the queue before it ran: safe to send again."""


class Failed(RequestError):
    """A replica had it, or a part of it; it may have had effects."""


class BadRequest(Rejected):
    """A header, parameter or part of the body is wrong.

    Attributes:
        field: what is wrong: a header's or a body field's name.
        rule: what would be right, or what is the matter.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(field, rule)
        self.field = field
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}."


class Unauthorized(Rejected):
    """No key, a malformed one, or one that is not valid: never says which."""

    def __str__(self) -> str:
        return (
            "A valid key is required: send `Authorization: Bearer <key>` or"
            " `Authorization: Api-Key <key>`."
        )


class Forbidden(Rejected):
    """The key is valid and does not reach what was asked for.

    Attributes:
        needed: what it lacks, e.g. "the scope `manage`".
    """

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"This key lacks {self.needed}."


class NotFound(Rejected):
    """Something that the address names does not exist."""


class UnknownAddress(NotFound):
    """No such path."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"There is nothing at {self.path}; /openapi.json lists the addresses."


class UnknownModel(NotFound):
    """No such model.

    Attributes:
        name: the one that was asked for.
        known: those that the caller may know of.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return f"There is no model {self.name!r}; known: {_listed(self.known)}."


class UnknownEnvironment(NotFound):
    """The model exists and has no such environment."""

    def __init__(self, model: str, name: str, known: Sequence[str]) -> None:
        super().__init__(model, name, known)
        self.model = model
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return (
            f"Model {self.model!r} has no environment {self.name!r}; known: {_listed(self.known)}."
        )


class UnknownDeployment(NotFound):
    """The model exists and no environment of it runs such a deployment."""

    def __init__(self, model: str, name: str, known: Sequence[str]) -> None:
        super().__init__(model, name, known)
        self.model = model
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return (
            f"No environment of model {self.model!r} runs a deployment {self.name!r};"
            f" running: {_listed(self.known)}."
        )


class UnknownRequest(NotFound):
    """Nothing of this id is known (any more).

    Attributes:
        what: kind of thing, as in "asynchronous request".
        name: its id, as it was asked for.
    """

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what, name)
        self.what = what
        self.name = name

    def __str__(self) -> str:
        return f"There is no {self.what} {self.name!r}, or it is no longer kept."


class MethodNotAllowed(Rejected):
    """The address exists for other methods."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(method, allowed)
        self.method = method
        self.allowed = tuple(allowed)

    def __str__(self) -> str:
        return f"{self.method} is not possible here; possible: {_listed(self.allowed)}."


class PayloadTooLarge(Rejected):
    """The body is over the limit.

    Attributes:
        limit: bytes that are allowed.
        size: bytes that were declared, or that had arrived when it was refused.
        declared: whether `size` comes from Content-Length.
    """

    def __init__(self, limit: int, size: int, *, declared: bool = True) -> None:
        super().__init__(limit, size)
        self.limit = limit
        self.size = size
        self.declared = declared

    def __str__(self) -> str:
        known = "is" if self.declared else "is at least"
        return f"The body {known} {self.size} bytes; the limit is {self.limit} bytes."


class QueueFull(Rejected):
    """The environment's line is full by count or by bytes."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "The environment's queue is full."


class NoFreeSlot(Rejected):
    """Policy `reject_on_full`, and no slot is free."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "No slot is free, and this environment does not queue."


class AsyncQueueFull(Rejected):
    """As many asynchronous requests are open as may be.

    Attributes:
        bound: which bound is reached, as in "100000 open requests".
        retry_after_s: seconds after which there may be room.
    """

    def __init__(self, bound: str, retry_after_s: float) -> None:
        super().__init__(bound, retry_after_s)
        self.bound = bound
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"This environment has reached its bound of {self.bound}."


class IdempotencyConflict(Rejected):
    """The idempotency key was used before, with another body."""

    def __str__(self) -> str:
        return "This Idempotency-Key was used with another body; use a new key for a new request."


class Draining(Rejected):
    """What was asked is being shut down."""

    def __init__(self, what: str, retry_after_s: float = 1.0) -> None:
        super().__init__(what, retry_after_s)
        self.what = what
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.what} is shutting down."


class QueueUnreachable(Rejected):
    """The environment's queue does not answer a question about it; it may be restarting."""

    def __init__(self, environment: str, retry_after_s: float = 1.0) -> None:
        super().__init__(environment, retry_after_s)
        self.environment = environment
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"The queue of {self.environment} does not answer at the moment."


class ObservatoryUnreachable(Rejected):
    """The observatory does not answer; requests are served as always."""

    def __init__(self, retry_after_s: float = 2.0) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "The observatory of this cluster does not answer at the moment."


class TooManyWatchers(Rejected):
    """As many streams of events are open at this router as may be.

    Attributes:
        limit: how many may be.
        retry_after_s: seconds after which there may be room.
    """

    def __init__(self, limit: int, retry_after_s: float = 10.0) -> None:
        super().__init__(limit, retry_after_s)
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"This router has {self.limit} streams of events open, and takes no more."


class StoreUnreachable(Rejected):
    """The store of asynchronous requests does not answer; what it has accepted is safe.

    Attributes:
        cause: what was seen, for the log; never an address with a password.
        retry_after_s: seconds after which asking again makes sense.
    """

    def __init__(self, cause: str, retry_after_s: float = 5.0) -> None:
        super().__init__(cause, retry_after_s)
        self.cause = cause
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "The store of asynchronous requests does not answer at the moment."


class NoStore(StoreUnreachable):
    """There is no store, or none that can be opened."""

    def __str__(self) -> str:
        return f"There are no asynchronous requests here: {self.cause}."


class ResultUnreadable(StoreUnreachable):
    """The request succeeded, and its result cannot be read where it is kept."""

    def __str__(self) -> str:
        return f"The result of this request cannot be read at the moment: {self.cause}."


class ParkTimeout(Evicted):
    """No replica had room within the time that the request may wait.

    Attributes:
        waited_s: seconds that it waited.
    """

    def __init__(self, waited_s: float) -> None:
        super().__init__(waited_s)
        self.waited_s = waited_s

    def __str__(self) -> str:
        return f"No replica had room within {self.waited_s:.3g} s."


class EnvironmentUnhealthy(Evicted):
    """The environment's replicas fail to start.

    Attributes:
        reason: why, in one sentence.
        log_tail: last log lines of the failed start, oldest first.
        retry_after_s: seconds after which asking again makes sense.
    """

    def __init__(self, reason: str, log_tail: Sequence[str], retry_after_s: float) -> None:
        super().__init__(reason, log_tail, retry_after_s)
        self.reason = reason
        self.log_tail = tuple(log_tail)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"The environment is unhealthy: {self.reason}"


class ReplicaLost(Failed):
    """The replica died, could not be reached, or did not speak HTTP.

    Attributes:
        attempts: attempts that were made on replicas.
        cause: the last attempt's failure, in a few words.
    """

    def __init__(self, attempts: int, cause: str) -> None:
        super().__init__(attempts, cause)
        self.attempts = attempts
        self.cause = cause

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"The replica failed (tried {times}): {self.cause}."


class PredictTimeout(Failed):
    """The model took longer than the environment's predict timeout."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.limit_s = limit_s

    def __str__(self) -> str:
        return f"The model did not finish within {self.limit_s:g} s."


class FirstByteTimeout(PredictTimeout):
    """The model did not begin to answer in time."""

    def __str__(self) -> str:
        return f"The model did not begin to answer within {self.limit_s:g} s."


class ChunkGapTimeout(PredictTimeout):
    """The model's stream paused for too long."""

    def __str__(self) -> str:
        return f"The model's stream paused for longer than {self.limit_s:g} s."


class DeadlineExceeded(RequestError):
    """The caller's deadline passed.

    Attributes:
        field: the header that set it.
        attempts: attempts made on replicas until then; 0: it never ran.
    """

    def __init__(self, field: str, attempts: int) -> None:
        super().__init__(field, attempts)
        self.field = field
        self.attempts = attempts

    def __str__(self) -> str:
        when = (
            f"after attempt {self.attempts} had begun" if self.attempts else "before it could run"
        )
        return f"The deadline given by {self.field} passed {when}."


class CallerGone(RequestError):
    """The caller closed its connection."""

    def __str__(self) -> str:
        return "The caller went away."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
