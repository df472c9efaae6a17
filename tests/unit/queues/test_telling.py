"""What a queue tells: to the observatory, and as spans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.permits import Exchange, Head, WorkClass
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.settings import EnvironmentSettings
from orchestrator.observatory.protocol import Nowhere
from orchestrator.queues.deployment import Queue
from orchestrator.queues.telling import Telling
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.trace_context import start_context
from tests.unit.told import Exported, HeardHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan

USER_CONFIG: dict[str, Any] = {
    "model": "m",
    "environment": "production",
    "deployment": "v1",
    "queue": {},
    "autoscaling": {"concurrency_target": 2, "max_replica": 3},
    "startup": {"attempts": 2},
    "resources": {"num_gpus": 1},
    "telemetry": {"slowest_share": 0.5},
}


class Scene:
    """A queue's core and its voice; the clock is the real one."""

    def __init__(self) -> None:
        self.exported = Exported("queue")
        settings = EnvironmentSettings.from_mapping(USER_CONFIG)
        self.core = EnvironmentQueue(settings, "life1", time.monotonic())
        self.telling = Telling(
            self.core, TelemetrySettings(), Nowhere(), tracing=self.exported.tracing
        )
        self.seq = 0

    def ask(self, *ages: float, holder: str = "a", **more: Any) -> None:
        self.seq += 1
        heads = tuple(Head(age) for age in ages)
        message = Exchange(holder, self.seq, waiting=len(ages), heads=heads, **more)
        self.core.exchange(message, time.monotonic())

    def report(self, stage: Stage, replica_id: str = "r1", **more: Any) -> None:
        report = ReplicaReport(
            replica_id, "v1", stage, slots=2, address=f"http://{replica_id}", **more
        )
        self.core.report(report, time.monotonic())

    def tick(self) -> None:
        self.core.tick(time.monotonic())
        self.telling.note()

    def state(self) -> dict[str, Any]:
        return {k: msgspec.msgpack.decode(v) for k, v in self.telling.state().items()}

    def numbers(self) -> dict[str, Any]:
        """Counters and gauges by name and labels, those of the environment left out."""
        batch = self.telling._registry.take()
        found = {**batch.counters, **batch.gauges}
        return {" ".join((name, *labels[2:])): value for (name, labels), value in found.items()}


@pytest.fixture
def scene() -> Scene:
    return Scene()


# The state


def test_the_state_has_unix_times_and_rests_while_nothing_happens(scene: Scene):
    scene.ask(5.0, 4.0)
    scene.report(Stage.STARTING, age_s=2.0)
    first = scene.telling.state()
    assert scene.telling.state() == first
    live = scene.state()["live"]
    now = time.time()
    assert live["oldest_at"] == pytest.approx(now - 5.0, abs=1.0)
    assert live["classes"]["sync"]["oldest_at"] == live["oldest_at"]
    assert live["classes"]["async"] == {"waiting": 0, "in_use": 0, "oldest_at": None}
    (replica,) = live["replicas"]
    assert replica["started"] == pytest.approx(now - 2.0, abs=1.0)
    assert (live["model"], live["environment"], live["deployment"]) == ("m", "production", "v1")
    assert not {key for key in (*live, *replica) if key.endswith("_s")}


def test_what_is_missing_is_told_with_its_since(scene: Scene):
    assert scene.state()["live"]["provisioning"]["since"] is None
    scene.ask(0.0)
    provisioning = scene.state()["live"]["provisioning"]
    assert provisioning["since"] == pytest.approx(time.time(), abs=1.0)
    assert (provisioning["count"], provisioning["needs"]) == (1, {"num_gpus": 1})


def test_decisions_and_starts_are_sections_of_their_own(scene: Scene):
    scene.ask(0.0)
    scene.report(Stage.STARTING)
    scene.report(Stage.READY, stages={Stage.STARTING: 0.5})
    state = scene.state()
    (decision,) = state["decisions"]
    assert decision["at"] == pytest.approx(time.time(), abs=1.0)
    assert (decision["before"], decision["desired"]) == (0, 1)
    (start,) = state["starts"]
    assert start["at"] == pytest.approx(time.time(), abs=1.0)
    assert (start["replica"], start["result"], start["reason"]) == ("r1", "ready", "")
    assert set(start["stages"]) == {"PROVISIONING", "STARTING"}


# The numbers


def test_gauges_say_what_is(scene: Scene):
    scene.report(Stage.STARTING)
    scene.report(Stage.READY)
    scene.ask(9.0, 8.0, holder="a", in_use=2, held={"r1": 3})
    scene.ask(7.0, holder="d", work=WorkClass.ASYNC)
    found = scene.numbers()
    assert found["orchestrator_waiting sync"] == 2
    assert found["orchestrator_waiting async"] == 1
    assert found["orchestrator_in_flight sync"] == 2
    assert found["orchestrator_permits in_use"] == 2
    assert found["orchestrator_permits kept"] == 1
    assert found["orchestrator_slots"] == 2
    assert found["orchestrator_replicas READY"] == 1
    assert found["orchestrator_replicas STARTING"] == 0
    assert found["orchestrator_unhealthy"] == 0
    assert found["orchestrator_oldest_wait_seconds"] == pytest.approx(9.0, abs=0.5)


def test_starts_and_decisions_are_counted_once(scene: Scene):
    scene.ask(0.0)
    scene.report(Stage.STARTING)
    scene.report(Stage.READY)
    for n in range(2):
        scene.report(Stage.FAILED, f"bad{n}", reason="no memory")
    for _ in range(3):
        scene.tick()
    found = scene.numbers()
    assert found["orchestrator_replica_starts_total ready"] == 1
    assert found["orchestrator_replica_starts_total failed"] == 2
    assert found["orchestrator_scale_decisions_total up"] == 1
    assert "orchestrator_scale_decisions_total down" not in found


# The spans


def by_name(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


def test_a_start_is_a_trace_with_a_span_for_each_stage(scene: Scene):
    scene.ask(0.0)
    scene.report(Stage.STARTING)
    scene.report(Stage.READY, stages={Stage.STARTING: 1.0, Stage.LOADING: 2.0})
    scene.tick()
    spans = by_name(scene.exported.spans)
    root = spans["replica.start"]
    assert root.context is not None
    trace_id, span_id = start_context("m.production", "r1")
    assert format_trace_id(root.context.trace_id) == trace_id
    assert format_span_id(root.context.span_id) == span_id
    assert root.start_time is not None
    assert root.end_time == pytest.approx(time.time_ns(), abs=1e9)
    stages = [spans[name] for name in ("PROVISIONING", "STARTING", "LOADING")]
    assert stages[0].start_time == root.start_time
    assert [span.parent and span.parent.span_id for span in stages] == [root.context.span_id] * 3
    assert stages[2].end_time == pytest.approx(root.end_time, abs=1e6)
    assert all(span.status.status_code is StatusCode.UNSET for span in spans.values())


def test_a_failed_start_is_one_with_the_reason(scene: Scene):
    scene.report(Stage.LOADING, stages={Stage.STARTING: 1.0})
    stages = {Stage.STARTING: 1.0, Stage.LOADING: 2.0}
    scene.report(Stage.FAILED, reason="no memory", stages=stages)
    scene.tick()
    spans = by_name(scene.exported.spans)
    assert spans["replica.start"].status.description == "no memory"
    assert spans["LOADING"].status.description == "no memory"
    assert spans["STARTING"].status.status_code is StatusCode.UNSET


def test_a_decision_is_a_span_of_no_length(scene: Scene):
    scene.ask(0.0)
    scene.tick()
    (span,) = scene.exported.named("scale.decision")
    assert span.start_time == span.end_time
    attributes = span.attributes or {}
    assert attributes["orchestrator.scale.from"] == 0
    assert attributes["orchestrator.scale.to"] == 1
    assert str(attributes["orchestrator.scale.reason"]).endswith("1.4 a replica")


def test_a_restarted_queue_does_not_export_old_starts_again(scene: Scene):
    scene.report(Stage.READY, stages={Stage.STARTING: 1.0}, age_s=60.0)
    scene.tick()
    assert scene.exported.spans == []


# The deployment


@pytest.fixture
async def hub() -> AsyncIterator[HeardHub]:
    hub = HeardHub()
    hub.start()
    yield hub
    await hub.close()


@pytest.fixture
async def queue(hub: HeardHub) -> AsyncIterator[Queue]:
    queue = Queue(lambda: hub)
    await queue.reconfigure(USER_CONFIG)
    yield queue
    await queue.close()


async def test_the_observatory_shows_the_environment(queue: Queue, hub: HeardHub):
    await hub.until_heard()
    overview = await hub.overview(0)
    row = msgspec.json.decode(overview.rows[0].data)
    assert (row["model"], row["environment"]) == ("m", "production")
    assert (row["status"], row["desired"]) == ("SCALED_TO_ZERO", 0)


async def test_it_says_how_many_are_ahead(queue: Queue):
    message = Exchange("a", 1, waiting=2, heads=(Head(9.0), Head(1.0)))
    await queue.exchange(message)
    assert await queue.ahead("b", 5.0) == 1
    assert await queue.ahead("a", 0.0) == 0


async def test_other_settings_are_taken_in_place(queue: Queue):
    await queue.exchange(Exchange("a", 1, waiting=1, heads=(Head(1.0),)))
    await queue.reconfigure(USER_CONFIG | {"deployment": "v2", "telemetry": {"keep_s": 1.0}})
    assert (await queue.describe())["waiting"] == 1


async def test_it_may_be_closed_more_than_once(queue: Queue):
    ending = queue.__del__()
    assert ending is not None
    await ending
    assert queue.__del__() is None
    await queue.close()
