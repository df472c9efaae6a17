"""A source that tells an observatory that may be away, and answers its questions."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.observatory.protocol import (
    Found,
    Live,
    LogsAsked,
    Nowhere,
    Part,
    Push,
    Source,
)
from orchestrator.observatory.reporter import Reporter
from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Batch, Registry
from orchestrator.telemetry.logs import LogLine
from orchestrator.telemetry.timeline import RequestFilter, Timeline
from tests.unit.observatory.world import NAMES, ROUTER, Unreliable, World, queue, replica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ANSWERED = (*NAMES, "answered")


@asynccontextmanager
async def reporting(
    hub: Any, source: Source, registry: Registry, **kwargs: Any
) -> AsyncIterator[Reporter]:
    reporter = Reporter(hub, source, registry, **kwargs)
    reporter.start()
    try:
        yield reporter
    finally:
        await reporter.close()


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run until it holds; the test's own deadline ends it."""
    while not holds():  # noqa: ASYNC110 - what it waits for happens at the other side
        await asyncio.sleep(0.001)


def answered(world: World) -> float:
    return world.hub._totals.counters.get((metrics.REQUESTS.name, ANSWERED), 0.0)


async def test_what_is_counted_arrives(world: World):
    registry = Registry()
    requests = registry.counter(metrics.REQUESTS, *ANSWERED)
    async with reporting(world.hub, ROUTER, registry):
        requests.add(2)
        await until(lambda: answered(world) == 2)
        requests.add(3)
        await until(lambda: answered(world) == 5)


async def test_totals_are_exact_where_calls_and_acknowledgements_are_lost(world: World):
    registry = Registry()
    requests = registry.counter(metrics.REQUESTS, *ANSWERED)
    way = Unreliable(world.hub)
    counted = 0
    async with reporting(way, ROUTER, registry):
        for losing in ("answer", "call", "", "answer", "", "call", "answer"):
            way.losing = losing
            wanted = len(way.pushes) + 2
            for _ in range(5):
                requests.add(1)
                counted += 1
                await asyncio.sleep(0)
            await until(partial(_has, way, wanted))
        way.losing = ""
        await until(lambda: answered(world) == counted)
    assert answered(world) == counted
    seqs = [msgspec.msgpack.decode(push, type=Push).seq for push in way.pushes]
    assert seqs == sorted(seqs)


async def test_a_push_that_is_repeated_is_the_same_to_the_byte(world: World):
    registry = Registry()
    registry.counter(metrics.REQUESTS, *ANSWERED).add(1)
    way = Unreliable(world.hub)
    way.losing = "answer"
    async with reporting(way, ROUTER, registry):
        await until(lambda: len(way.pushes) >= 3)
        assert len(set(way.pushes)) == 1
        way.losing = ""


async def test_what_is_left_is_told_at_the_end(world: World):
    registry = Registry()
    way = Unreliable(world.hub)
    async with reporting(way, ROUTER, registry) as reporter:
        await until(lambda: bool(way.pushes))
        registry.counter(metrics.REQUESTS, *ANSWERED).add(7)
        await reporter.close()
    assert answered(world) == 7
    assert (await world.samples(metrics.PROCESSES.name))["router",] == 0


async def test_a_hub_that_never_answers_costs_nothing_but_the_news(world: World):
    registry = Registry()
    async with reporting(Nowhere(), ROUTER, registry, answers={"request": _never}):
        for _ in range(20):
            registry.counter(metrics.REQUESTS, *ANSWERED).add(1)
            await asyncio.sleep(0.001)


async def test_an_idle_source_says_nothing_between_heartbeats(world: World):
    registry = Registry()
    registry.gauge(metrics.DESIRED, lambda: 3, *NAMES)
    way = Unreliable(world.hub)
    state = {"live": msgspec.msgpack.encode({"status": "ACTIVE"})}
    reporter = Reporter(way, queue(), registry, state=lambda: state)
    for _ in range(5):
        await reporter._collect()
        if reporter._pending is not None:
            reporter._heard(await way.push(reporter._pending))
    assert len(way.pushes) == 1
    assert await world.samples(metrics.DESIRED.name) == {NAMES: 3}


async def test_a_heartbeat_has_neither_gauges_nor_state_in_it(world: World):
    registry = Registry()
    registry.gauge(metrics.DESIRED, lambda: 3, *NAMES)
    way = Unreliable(world.hub)
    state = {"live": msgspec.msgpack.encode({"status": "ACTIVE"})}
    reporter = Reporter(way, queue(), registry, state=lambda: state)
    await reporter._collect()
    assert reporter._pending is not None
    reporter._heard(await way.push(reporter._pending))
    reporter._told_at = float("-inf")
    await reporter._collect()
    assert reporter._pending is not None
    heartbeat = msgspec.msgpack.decode(reporter._pending, type=Push)
    assert not heartbeat.gauges
    assert not heartbeat.state
    assert msgspec.msgpack.decode(heartbeat.batch, type=Batch).gauges == {}
    reporter._heard(await way.push(reporter._pending))
    assert await world.samples(metrics.DESIRED.name) == {NAMES: 3}


async def test_a_new_observatory_is_told_all_state_again(world: World):
    registry = Registry()
    registry.gauge(metrics.DESIRED, lambda: 3, *NAMES)
    way = Unreliable(world.hub)
    state = {
        "live": msgspec.msgpack.encode({"status": "ACTIVE", "desired": 3}),
        "decisions": msgspec.msgpack.encode([{"at": 1.0, "desired": 3, "reason": "load"}]),
    }
    async with reporting(way, queue(), registry, state=lambda: state):
        await until(lambda: len(world.hub._sources) == 1)
        again = World()
        way.hub = again.hub
        registry.counter(metrics.DECISIONS, *NAMES, "up").add(1)
        await until(lambda: bool(again.hub._environments.state(*NAMES)))
        assert await again.samples(metrics.DESIRED.name) == {NAMES: 3}
        row = (await again.rows())["echo/production"]
        assert row["decision"] == {"at": 1.0, "desired": 3, "reason": "load"}


async def test_a_state_that_raises_loses_nothing(world: World, caplog):
    registry = Registry()
    broken = True

    def state() -> dict[str, bytes]:
        if broken:
            raise RuntimeError("no state")
        return {}

    registry.counter(metrics.REQUESTS, *ANSWERED).add(4)
    async with reporting(world.hub, queue(), registry, state=state):
        await until(lambda: "no state" in caplog.text)
        broken = False
        await until(lambda: answered(world) == 4)


async def test_the_lag_of_the_event_loop_is_told(world: World, monkeypatch):
    monkeypatch.setattr("orchestrator.observatory.reporter.LAG_EVERY_S", 0.001)
    registry = Registry()
    key = (metrics.LOOP_LAG_SECONDS.name, ("router",))
    async with reporting(world.hub, ROUTER, registry):
        await asyncio.sleep(0.01)
        registry.counter(metrics.REQUESTS, *ANSWERED).add(1)
        await until(lambda: key in world.hub._totals.histograms)


# Questions


async def test_timelines_of_all_routers_come_merged_newest_first(world: World):
    def router(*began: float) -> dict[str, Any]:
        async def requests(argument: bytes) -> bytes:
            wanted = msgspec.msgpack.decode(argument, type=RequestFilter)
            found = [Timeline(request_id=f"r{at}", kind="call", began=at) for at in began]
            return msgspec.msgpack.encode([each for each in found if wanted.fits(each)])

        return {"requests": requests}

    one, two = Source("router/1", Part.ROUTER), Source("router/2", Part.ROUTER)
    async with (
        reporting(world.hub, one, Registry(), answers=router(5.0, 3.0)),
        reporting(world.hub, two, Registry(), answers=router(6.0, 4.0, 1.0)),
    ):
        await until(lambda: len(world.hub._sources) == 2)
        recent = await world.hub.requests(RequestFilter(limit=3, since=2.0))
    assert [timeline.began for timeline in recent.timelines] == [6.0, 5.0, 4.0]
    assert (recent.routers, recent.missing) == (2, 0)


async def test_a_router_that_does_not_answer_is_said_to_be_missing(world: World, monkeypatch):
    monkeypatch.setattr("orchestrator.observatory.hub.ANSWER_S", 1.0)

    async def requests(_: bytes) -> bytes:
        return msgspec.msgpack.encode([Timeline(request_id="r", began=1.0)])

    async with (
        reporting(world.hub, ROUTER, Registry(), answers={"requests": requests}),
        reporting(
            world.hub, Source("router/2", Part.ROUTER), Registry(), answers={"requests": _never}
        ),
        reporting(
            world.hub, Source("router/3", Part.ROUTER), Registry(), answers={"requests": _raises}
        ),
    ):
        await world.tell(Source("router/4", Part.ROUTER))  # never listens
        await until(lambda: len(world.hub._sources) == 4)
        recent = await world.hub.requests(RequestFilter())
    assert len(recent.timelines) == 1
    assert (recent.routers, recent.missing) == (4, 3)
    assert not world.hub._inquiries._answers, "questions that nobody waits for are forgotten"


async def test_a_request_is_looked_for_at_routers_and_dispatchers(world: World):
    async def at_router(argument: bytes) -> bytes:
        found = Found(ended=[Timeline(request_id=argument.decode(), began=1.0)])
        return msgspec.msgpack.encode(found)

    async def at_dispatcher(argument: bytes) -> bytes:
        timeline = Timeline(request_id=argument.decode(), kind="run", outcome="running")
        live = Live(timeline=timeline, since=2.0, replica="r1")
        return msgspec.msgpack.encode(Found(live=[live]))

    dispatcher = Source("dispatcher/1", Part.DISPATCHER)
    async with (
        reporting(world.hub, ROUTER, Registry(), answers={"request": at_router}),
        reporting(world.hub, dispatcher, Registry(), answers={"request": at_dispatcher}),
    ):
        await until(lambda: len(world.hub._sources) == 2)
        sighted = await world.hub.request("abc")
    assert [timeline.request_id for timeline in sighted.found.ended] == ["abc"]
    assert [live.replica for live in sighted.found.live] == ["r1"]
    assert sighted.missing == 0


async def test_log_lines_are_asked_of_the_environments_replicas(world: World):
    def answers(name: str) -> dict[str, Any]:
        async def logs(argument: bytes) -> bytes:
            asked = msgspec.msgpack.decode(argument, type=LogsAsked)
            lines = [LogLine(n, float(n), "stdout", "", f"{name} {n}") for n in range(1, 4)]
            return msgspec.msgpack.encode([line for line in lines if line.seq > asked.after])

        return {"logs": logs}

    def lines(found: Any) -> dict[str, list[str]]:
        return {
            each.replica: [
                line.text for line in msgspec.msgpack.decode(each.lines, type=list[LogLine])
            ]
            for each in found.replicas
        }

    async with (
        reporting(world.hub, replica("r1"), Registry(), answers=answers("r1")),
        reporting(world.hub, replica("r2"), Registry(), answers=answers("r2")),
        reporting(world.hub, replica("r3", "other"), Registry(), answers=answers("r3")),
    ):
        await until(lambda: len(world.hub._sources) == 3)
        found = await world.hub.logs(*NAMES, "", {"r1": LogsAsked(after=2)}, LogsAsked())
        assert lines(found) == {"r1": ["r1 3"], "r2": ["r2 1", "r2 2", "r2 3"]}
        found = await world.hub.logs(*NAMES, "r2", {}, LogsAsked(after=1))
        assert lines(found) == {"r2": ["r2 2", "r2 3"]}


async def test_without_replicas_the_last_failures_lines_are_known(world: World):
    await world.tell(
        queue(),
        live={"log_tail": ["no such file", "exit 1"]},
        starts=[
            {"replica": "r0", "result": "failed", "at": 5.0},
            {"replica": "r1", "result": "ready", "at": 6.0},
        ],
    )
    found = await world.hub.logs(*NAMES, "", {}, LogsAsked())
    assert found.replicas == []
    assert found.last_failure == ["no such file", "exit 1"]
    assert (found.failed, found.failed_at) == ("r0", 5.0)


def _has(way: Unreliable, pushes: int) -> bool:
    return len(way.pushes) >= pushes


async def _never(_: bytes) -> bytes:
    await asyncio.Event().wait()
    return b""


async def _raises(_: bytes) -> bytes:
    raise RuntimeError("cannot answer")
