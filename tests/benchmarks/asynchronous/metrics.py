"""What is measured of every system. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a system.

    Attributes:
        name: in the results' JSON.
        title: at the head of its column.
        digits: after the point, where it is shown.
        more_is_better: whether the best of several is the greatest.
    """

    name: str
    title: str
    digits: int = 0
    more_is_better: bool = True

    def best(self, figures: Iterable[float]) -> float | None:
        """The best of several; ``None`` of none."""
        known = list(figures)
        if not known:
            return None
        return max(known) if self.more_is_better else min(known)


# Accepted is durably accepted: synced to disk before the caller hears of it.
ACCEPTED = Metric("accepted_per_s", "accepted/s, none run")
ACCEPTED_RUNNING = Metric("accepted_running_per_s", "accepted/s, while they run")
# From the first submission to the last result in the client's hands.
COMPLETED = Metric("completed_per_s", "completed/s, results read")
# From the first submission to the last webhook at the receiver.
COMPLETED_WEBHOOK = Metric("completed_webhook_per_s", "completed/s, by webhook")
# From before the submission to the model's first instruction, one at a time, nothing else waits.
IDLE_START = Metric("idle_start_p50_ms", "idle start p50 ms", digits=2, more_is_better=False)

JOBS = 2000
METRICS = (ACCEPTED, ACCEPTED_RUNNING, COMPLETED, COMPLETED_WEBHOOK, IDLE_START)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement of one system."""

    metric: Metric
    value: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement with where it belongs."""

    system: str
    round_number: int
    figure: Figure


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is done in each measurement.

    Attributes:
        jobs: in each batch.
        idle_jobs: one after the other.
    """

    jobs: int = JOBS
    idle_jobs: int = 50
