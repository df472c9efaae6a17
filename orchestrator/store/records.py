"""What the store takes and gives: plain records, without a word of Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, ErrorCode, WebhookStatus
from orchestrator.telemetry.timeline import Run


class Bounds(msgspec.Struct, frozen=True):
    """How much of an environment may be accepted and not yet ended.

    Attributes:
        max_requests: in all.
        max_bytes: of their inputs.
        max_requests_per_key: of one API key; None: no such bound.
    """

    max_requests: int = 100_000
    max_bytes: int = 1 << 30
    max_requests_per_key: int | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A request to accept.

    Attributes:
        request_id: made by `keys.new_id` of the environment's tag.
        model: its name.
        environment: its name.
        deployment: the one that the environment points at now.
        input: the model's input, JSON, as it came.
        key: prefix of the API key, for the bound per key; empty: none.
        priority: 0 to 2, 0 first.
        aging_s: seconds of waiting that one level of priority is worth.
        max_queue_s: longest stay in the queue, each time that it gets there.
        rules: attempts.
        webhook: address; None: none wanted.
        traceparent: W3C context of what hands it over, the parent of its runs; empty: none.
        tracestate: what goes with that.
        idempotency: (SHA-256 of the caller's key and its API key's prefix, SHA-256
            of the body), hexadecimal; None: it gave none.
        bounds: of the environment.
    """

    request_id: str
    model: str
    environment: str
    deployment: str
    input: bytes
    key: str = ""
    priority: int = 0
    aging_s: float = 60.0
    max_queue_s: float = 600.0
    rules: AttemptRules = AttemptRules()
    webhook: str | None = None
    traceparent: str = ""
    tracestate: str = ""
    idempotency: tuple[str, str] | None = None
    bounds: Bounds = Bounds()


class Accepted(msgspec.Struct, frozen=True):
    """An accepted request; `created` is False where an idempotency key found an earlier one."""

    request_id: str
    created: bool


class Error(msgspec.Struct, frozen=True):
    """Why an attempt failed: a code and a sentence."""

    code: ErrorCode
    message: str


class Result(msgspec.Struct, frozen=True):
    """A model's answer: here (`data`), or in the result store (`reference`).

    Attributes:
        content_type: as the model said it; empty: it said none.
        size: bytes.
        data: the bytes; None where they are elsewhere.
        reference: name in the result store.
    """

    content_type: str
    size: int
    data: bytes | None = None
    reference: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the store knows it. Times are Unix seconds on the store's clock."""

    request_id: str
    model: str
    environment: str
    deployment: str
    state: AsyncState
    webhook_status: WebhookStatus
    created_at: float
    status_at: float
    priority: int
    attempts: int
    error: Error | None = None
    """The last failed attempt's; told to callers only once the request has FAILED."""
    result: Result | None = None
    webhook: str | None = None
    queue_position: int | None = None
    """How many rank before it in its queue; None where it is not QUEUED."""
    traceparent: str = ""
    tracestate: str = ""
    """As accepted."""
    runs: tuple[Run, ...] = ()
    """Those that were reported, in order; of one request that is asked for alone. A run
    whose dispatcher died, and one that was canceled, is not among them."""


class Page(msgspec.Struct, frozen=True):
    """A part of a list, and where the next part begins; None: that was all."""

    records: list[Record]
    cursor: str | None


class Depth(msgspec.Struct, frozen=True):
    """How many of an environment's requests wait and run."""

    queued: int
    in_progress: int


class Waiting(msgspec.Struct, frozen=True):
    """One of the first requests in a queue: its age in seconds, and its priority."""

    age_s: float
    priority: int


class Backlog(msgspec.Struct, frozen=True):
    """What a dispatcher finds when it looks at an environment.

    Attributes:
        ready: requests that could start now.
        first: the first of them, best first, at most as many as were asked for.
        deliveries: webhooks that are due now.
        next_s: seconds until something else falls due (an expiry, the end of a pause,
            a lease, a delivery); None: nothing is planned.
    """

    ready: int
    first: tuple[Waiting, ...] = ()
    deliveries: int = 0
    next_s: float | None = None


@dataclass(frozen=True, slots=True)
class RemainingRules(AttemptRules):
    """A request's rules where attempts were given back before they ran.

    Attempts are numbered on, so that each number is given once and fences one lease;
    those that did not run are left out here wherever numbers are judged.

    Attributes:
        not_run: how many of the attempts did not run.
    """

    not_run: int = 0

    def pause_s(self, attempt: int) -> float:
        """As `AttemptRules.pause_s`, for the attempt's number as it was claimed."""
        return AttemptRules.pause_s(self, attempt - self.not_run)

    def again(self, attempt: int, code: ErrorCode) -> bool:
        """As `AttemptRules.again`, for the attempt's number as it was claimed."""
        return AttemptRules.again(self, attempt - self.not_run, code)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is to be run now, under a lease.

    Attributes:
        request_id: its id.
        attempt: number of this attempt, 1 first; also what fences its lease: whoever
            ends the request must name the attempt that is the last. Attempts that were
            given back before they ran have numbers too; `rules` allows for them.
        input: the model's input.
        rules: its attempts.
        model, environment, deployment: as accepted.
        age_s: since it was accepted.
        waited_s: since it was accepted or put back.
        traceparent, tracestate: as accepted.
    """

    request_id: str
    attempt: int
    input: bytes
    rules: AttemptRules
    model: str
    environment: str
    deployment: str
    age_s: float
    waited_s: float
    traceparent: str = ""
    tracestate: str = ""

    @property
    def run(self) -> int:
        """Number of its run, 1 first: `attempt` without those that did not run."""
        rules = self.rules
        return self.attempt - rules.not_run if isinstance(rules, RemainingRules) else self.attempt


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is to be sent now, under a lease.

    Attributes:
        request_id: of the request, also the webhook's id, the same at every try.
        attempt: number of this try, 1 first; fences its lease.
        url: receiver.
        record: the request, ended, with its result; of its runs, the last one at most.
    """

    request_id: str
    attempt: int
    url: str
    record: Record


class Try(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a delivery log.

    Attributes:
        at: Unix seconds.
        attempt: its number.
        status: of the receiver's answer; None: there was none.
        seconds: how long it took.
        answer: first bytes of the answer's body, at most 512 of them, as text.
        error: why there was no answer; a sentence.
    """

    at: float
    attempt: int
    status: int | None = None
    seconds: float = 0.0
    answer: str = ""
    error: str = ""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was given up."""

    request_id: str
    model: str
    environment: str
    url: str
    given_up_at: float
    reason: str
    tries: list[Try]


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that webhooks are signed with.

    Attributes:
        key_id: its public name.
        secret: `whsec_…`; None wherever it is only listed.
        created_at: Unix seconds.
        expires_at: when it stops being used, after a rotation; None: in use.
    """

    key_id: str
    created_at: float
    expires_at: float | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        """Without the secret: this may get into a log."""
        return f"SigningKey({self.key_id!r})"

    def __rich_repr__(self) -> Any:
        yield self.key_id


class Retention(msgspec.Struct, frozen=True):
    """How long what has ended is kept, in seconds.

    Attributes:
        result_s: a request with its result, since it ended or its webhook did.
        dead_letter_s: a request whose webhook was given up, since then.
    """

    result_s: float = 86_400.0
    dead_letter_s: float = 30 * 86_400.0
