"""Whether a webhook is sent again, and when; and when its receiver is left alone.

A try is delivered, to be made again, or the last one:

    2xx                                              delivered
    410 and any other 4xx but 408, 425, 429          stop: the receiver does not want it
    408, 425, 429, 5xx, anything else, no answer     again, after the next pause

Redirects are not followed; they belong to "anything else": whoever moves a
receiver has the schedule's time to take the redirect away. When the schedule is
used up, the webhook goes to the dead letters.

The breaker keeps tries away from a receiver that fails whatever is sent to it:

            failures in a row
    CLOSED ───────────────────▶ OPEN ◀──────── the probe failed
      ▲                          │ pause over         │
      └──── any success ──────── HALF_OPEN ───────────┘
                                 (one probe at a time)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

PAUSES_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""The contract's schedule, which is also Svix's."""

JITTER: Final = 0.1
"""By which share a pause is longer or shorter, so that what failed together does not come
back together."""

LONGEST_RETRY_AFTER_S: Final = 36_000.0
"""A receiver may ask for as long a pause as the longest of the schedule, and for no longer."""

LONGEST_HELD_S: Final = 86_400.0
"""Webhooks older than this are kept from a failing receiver at the cost of their tries.

Otherwise those of a receiver for which many wait, of which the breaker lets one
through now and then, would never reach the dead letters.
"""

_RETRIED_4XX: Final = frozenset({408, 425, 429})
_MOST_DIGITS: Final = 9


class Verdict(StrEnum):
    """What a try means for its webhook."""

    DELIVERED = "delivered"
    RETRY = "retry"
    STOP = "stop"


def verdict_of(status: int | None) -> Verdict:
    """What an answer's HTTP status means; None: there was no answer."""
    if status is None:
        return Verdict.RETRY
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if 400 <= status < 500 and status not in _RETRIED_4XX:
        return Verdict.STOP
    return Verdict.RETRY


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for; None: it is missing or makes no sense.

    Args:
        value: the header: seconds, or an HTTP date.
        now: Unix seconds.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # More digits than a century of seconds has: as good as for ever.
        return float(text) if len(text) <= _MOST_DIGITS else LONGEST_RETRY_AFTER_S
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # HTTP's dates are in GMT, also in the old form that does not say so.
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """How often a webhook is tried.

    Attributes:
        pauses_s: seconds after the first failed try, after the second, and so on; one
            try follows each of them.
        longest_held_s: age up to which a webhook is not charged for a try that was not
            made because its receiver is left alone.
    """

    pauses_s: tuple[float, ...] = PAUSES_S
    longest_held_s: float = LONGEST_HELD_S

    def pause_s(self, attempt: int, chance: float, asked_s: float | None = None) -> float | None:
        """Seconds between failed try number `attempt` (1 is the first) and the next.

        Never less than the receiver asks for, up to `LONGEST_RETRY_AFTER_S`; and never
        less than the schedule says, so that a receiver that asks to be called again in a
        second does not use up all tries in eight.

        Args:
            attempt: the number of the try.
            chance: a random number, 0 to 1, for the jitter.
            asked_s: what the answer's `Retry-After` says.

        Returns:
            The pause, or None: the schedule is used up.
        """
        if attempt > len(self.pauses_s):
            return None
        planned = self.pauses_s[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
        if asked_s is None:
            return planned
        return max(planned, min(asked_s, LONGEST_RETRY_AFTER_S) * (1 + JITTER * chance))

    def charged(self, age_s: float) -> bool:
        """Whether a try that was not made, for its receiver's failing, counts as a failed one.

        Args:
            age_s: seconds since the request ended.
        """
        return age_s > self.longest_held_s


class BreakerState(StrEnum):
    """What a breaker does with tries."""

    CLOSED = "closed"
    """All may go."""

    OPEN = "open"
    """None may go, until the pause is over."""

    HALF_OPEN = "half-open"
    """One has gone, and all others wait for what becomes of it."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a receiver is left alone.

    The numbers are the defaults of Envoy's outlier detection (`consecutive_5xx`,
    `base_ejection_time`, `max_ejection_time`), and so is the rule that the pause is
    the base times the number of pauses in a row.

    Attributes:
        failures: in a row, after which it is.
        pause_s: the first pause.
        longest_pause_s: bound of the pauses that follow.
        probe_s: a probe that nothing was heard of for so long counts as lost.
    """

    failures: int = 5
    pause_s: float = 30.0
    longest_pause_s: float = 300.0
    probe_s: float = 60.0


class Breaker:
    """Of one receiver. Times are seconds on any clock that does not go back.

    Ask `wait_s`; where it is 0, `admit` gives the number to report the try with, by
    `succeeded`, `failed` or `abandoned`. Reports may come late or never.

    Attributes:
        state: what it does; the pause of OPEN may be over already.
        pauses: in a row, the present one included.
    """

    __slots__ = ("_failures", "_probe", "_rules", "_until", "pauses", "state")

    def __init__(self, rules: BreakerRules | None = None) -> None:
        self._rules = rules if rules is not None else BreakerRules()
        self.state = BreakerState.CLOSED
        self.pauses = 0
        self._failures = 0
        self._probe = 0
        self._until = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds after which a try may go; 0: now."""
        return 0.0 if self.state is BreakerState.CLOSED else max(0.0, self._until - now)

    def admit(self, now: float) -> int:
        """A try goes now; gives the number to report it with.

        Raises:
            ValueError: it may not, `wait_s` is not 0.
        """
        if self.wait_s(now):
            raise ValueError("this receiver is to be left alone")
        if self.state is BreakerState.CLOSED:
            return 0
        self.state = BreakerState.HALF_OPEN
        self._until = now + self._rules.probe_s
        self._probe += 1
        return self._probe

    def succeeded(self) -> None:
        """The receiver took a webhook: it lives, whenever that try began."""
        self.state = BreakerState.CLOSED
        self._failures = 0
        self.pauses = 0

    def failed(self, number: int, now: float) -> None:
        """A try failed.

        Only the present probe counts once the breaker has opened: what began before
        tells nothing new.
        """
        if self.state is BreakerState.CLOSED:
            self._failures += 1
            if self._failures >= self._rules.failures:
                self._open(now)
        elif self._is_probe(number):
            self._open(now)

    def abandoned(self, number: int, now: float) -> None:
        """A try was not made, or nobody will know what became of it."""
        if self._is_probe(number):
            self.state = BreakerState.OPEN
            self._until = now

    def _is_probe(self, number: int) -> bool:
        return self.state is BreakerState.HALF_OPEN and number == self._probe

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self.pauses += 1
        pause_s = self._rules.pause_s * self.pauses
        self._until = now + min(self._rules.longest_pause_s, pause_s)
