"""What an environment's queue tells the observatory and a collector of traces.

The numbers and the state of its environment once a second, and, as they happen,
the starts of replicas and the changes of how many are wanted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.chronicle import Change, Start
from orchestrator.lifecycle.description import describe_present
from orchestrator.lifecycle.permits import WorkClass
from orchestrator.lifecycle.replica import STARTUP_STAGES, Stage
from orchestrator.observatory.protocol import Part, Source
from orchestrator.observatory.reporter import Reporter
from orchestrator.telemetry import metrics, scaling_spans
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.logs import join_serve
from orchestrator.telemetry.trace_context import Ids
from orchestrator.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.lifecycle.environment_queue import EnvironmentQueue
    from orchestrator.observatory.protocol import Hub
    from orchestrator.telemetry.settings import TelemetrySettings
    from orchestrator.telemetry.span import Span

_LIVE_STAGES: Final = (*STARTUP_STAGES, Stage.READY, Stage.DRAINING)
_CLASSES: Final = tuple(work.name.lower() for work in WorkClass)

_FRESH_S: Final = 0.5
"""A description serves for all numbers that are read within so long."""

_STEP_S: Final = 0.5
"""A wall clock that was set by less than this does not move the state's times."""


class Telling:
    """A queue's voice. Times of the queue's clock become Unix times here.

    Args:
        core: the queue.
        settings: what telemetry goes by.
        hub: the observatory.
        tracing: where spans go; by default as the process's variables say.
    """

    def __init__(
        self,
        core: EnvironmentQueue,
        settings: TelemetrySettings,
        hub: Hub,
        tracing: Tracing | None = None,
    ) -> None:
        self._core = core
        self._ids = Ids()
        self._offset = time.time() - time.monotonic()
        self._present: dict[str, Any] = {}
        self._present_at = float("-inf")
        self._past: dict[str, bytes] = {}
        self._past_version = -1
        self._registry = Registry()
        self._tracing = tracing or Tracing.from_environment("queue", settings, self._registry)
        self._names = (core.settings.model, core.settings.environment)
        model, environment = self._names
        source = Source(f"queue-{core.name}", Part.QUEUE, model, environment)
        self._reporter = Reporter(hub, source, self._registry, state=self.state)
        self._measure()

    def start(self) -> None:
        """Begins to tell; needs the running loop."""
        join_serve()
        self._reporter.start()

    def configure(self, settings: TelemetrySettings) -> None:
        """Goes by other settings from now on."""
        self._tracing.configure(settings)

    async def close(self) -> None:
        """Tells what is left; takes a few seconds at most."""
        self.note()
        # It waits for the collector, and counts what it could not tell it.
        await asyncio.to_thread(self._tracing.close)
        await self._reporter.close()

    def note(self) -> None:
        """Counts and exports what has happened since the last time."""
        happened = self._core.chronicle.take()
        if not happened:
            return
        made: list[Span] = []
        for each in happened:
            if isinstance(each, Start):
                self._count_start(each)
                if self._tracing.on:
                    made += self._start_spans(each)
            else:
                direction = "up" if each.desired > each.before else "down"
                self._registry.counter(metrics.DECISIONS, *self._names, direction).add()
                if self._tracing.on:
                    made.append(self._decision_span(each))
        if made:
            self._tracing.emit(made)

    def state(self) -> Mapping[str, bytes]:
        """The sections of the state; their bytes are the same while nothing changes."""
        self._follow_the_clock()
        encode = msgspec.msgpack.encode
        if self._past_version != self._core.chronicle.version:
            self._past_version = self._core.chronicle.version
            self._past = {
                "decisions": encode([self._change(c) for c in self._core.chronicle.changes]),
                "starts": encode([self._start(s) for s in self._core.chronicle.starts]),
            }
        return {"live": encode(self._live()), **self._past}

    # The state

    def _live(self) -> dict[str, Any]:
        now = time.monotonic()
        found = self._dated(describe_present(self._core, now), now)
        provisioning = found["provisioning"]
        retry_after_s = found.pop("retry_after_s")
        decided = found.pop("decided")
        model, environment = self._names
        return {
            **found,
            "model": model,
            "environment": environment,
            "deployment": self._core.settings.deployment,
            "retry_at": None if retry_after_s is None else self._unix(now + retry_after_s),
            "decided_at": self._unix(now - decided["age_s"]),
            "classes": {name: self._dated(of, now) for name, of in found["classes"].items()},
            "replicas": [self._replica(each, now) for each in found["replicas"]],
            "provisioning": {
                "count": provisioning["count"],
                "since": self._unix(now - provisioning["for_s"]) if provisioning["count"] else None,
                "needs": provisioning["needs"],
            },
        }

    def _dated(self, work: dict[str, Any], now: float) -> dict[str, Any]:
        """With the time at which the oldest waiter came, not its age, which never rests."""
        age_s = work.pop("oldest_wait_s")
        return {**work, "oldest_at": self._unix(now - age_s) if work["waiting"] else None}

    def _replica(self, replica: dict[str, Any], now: float) -> dict[str, Any]:
        # A tenth of a second: later reports still correct it by less.
        started = round(self._unix(now - replica.pop("age_s")), 1)
        own = sum(s for stage, s in replica["stages"].items() if stage != Stage.PROVISIONING)
        return {**replica, "started": started, "stage_since": round(started + own, 1)}

    def _change(self, change: Change) -> dict[str, Any]:
        return {
            "at": self._unix(change.at),
            "before": change.before,
            "desired": change.desired,
            "reason": change.reason,
        }

    def _start(self, start: Start) -> dict[str, Any]:
        return {
            "replica": start.replica_id,
            "deployment": start.deployment,
            "at": self._unix(start.ended),
            "seconds": round(start.seconds, 6),
            "result": _result(start),
            "reason": start.reason or "",
            "stages": {stage.value: seconds for stage, seconds in start.stages.items()},
        }

    def _unix(self, at: float) -> float:
        return round(at + self._offset, 3)

    def _follow_the_clock(self) -> None:
        """The wall clock may be set; its small corrections would make every time another."""
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > _STEP_S:
            self._offset = offset
            self._past_version = -1

    # The numbers

    def _measure(self) -> None:
        """Has the gauges read from one description of the queue."""
        readers: list[tuple[metrics.Metric, tuple[str, ...], _Read]] = [
            (metrics.OLDEST_WAIT, (), _value("oldest_wait_s")),
            (metrics.SLOTS, (), _value("slots")),
            (metrics.DESIRED, (), _value("desired")),
            (metrics.UNHEALTHY, (), _is_unhealthy),
            (metrics.PERMITS, ("in_use",), _value("in_use")),
            (metrics.PERMITS, ("kept",), _value("kept")),
            *((metrics.WAITING, (work,), _value("classes", work, "waiting")) for work in _CLASSES),
            *((metrics.IN_FLIGHT, (work,), _value("classes", work, "in_use")) for work in _CLASSES),
            *((metrics.REPLICAS, (stage.value,), _in_stage(stage)) for stage in _LIVE_STAGES),
        ]
        for metric, labels, read in readers:
            self._registry.gauge(metric, self._reading(read), *self._names, *labels)

    def _reading(self, read: _Read) -> Callable[[], float]:
        return lambda: read(self._recent())

    def _recent(self) -> dict[str, Any]:
        now = time.monotonic()
        if now - self._present_at > _FRESH_S:
            self._present = describe_present(self._core, now)
            self._present_at = now
        return self._present

    def _count_start(self, start: Start) -> None:
        self._registry.counter(metrics.STARTS, *self._names, _result(start)).add()
        if start.reason is None:
            for stage, seconds in start.stages.items():
                key = (metrics.START_STAGE_SECONDS, *self._names, stage.value)
                self._registry.histogram(*key).observe(seconds)

    # The spans

    def _start_spans(self, start: Start) -> list[Span]:
        model, environment = self._names
        return scaling_spans.start_spans(
            application=f"{model}.{environment}",
            replica=start.replica_id,
            model=model,
            environment=environment,
            deployment=start.deployment,
            began=start.ended - start.seconds + self._offset,
            stages=[(stage.value, seconds) for stage, seconds in start.stages.items()],
            failed=start.reason or "",
        )

    def _decision_span(self, change: Change) -> Span:
        model, environment = self._names
        return scaling_spans.decision_span(
            trace_id=self._ids.trace_id().decode(),
            span_id=self._ids.span_id().decode(),
            model=model,
            environment=environment,
            deployment=self._core.settings.deployment,
            at=change.at + self._offset,
            before=change.before,
            desired=change.desired,
            reason=change.reason,
        )


def _result(start: Start) -> str:
    return "ready" if start.reason is None else "failed"


_Read = Callable[[dict[str, Any]], float]
"""A number out of a queue's description of the present."""


def _value(*path: str) -> _Read:
    def read(present: dict[str, Any]) -> float:
        found: Any = present
        for key in path:
            found = found[key]
        number: float = found
        return round(number, 1)

    return read


def _in_stage(stage: Stage) -> _Read:
    if stage is Stage.PROVISIONING:
        return _value("provisioning", "count")
    return lambda present: sum(each["stage"] == stage for each in present["replicas"])


def _is_unhealthy(present: dict[str, Any]) -> float:
    return float(present["status"] == "UNHEALTHY")
