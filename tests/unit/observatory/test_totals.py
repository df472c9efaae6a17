"""Counters and histograms over all sources: exact, whatever is lost, repeated or restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.observatory.protocol import Part, Source
from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Batch, Registry
from tests.unit.observatory.world import NAMES, ROUTER, World, queue

if TYPE_CHECKING:
    from orchestrator.telemetry.instruments import Labels

ANSWERED = (*NAMES, "answered")


def requests(count: float, outcome: str = "answered") -> Batch:
    return Batch(counters={(metrics.REQUESTS.name, (*NAMES, outcome)): count})


def gauge(value: float, labels: Labels = NAMES) -> Batch:
    return Batch(gauges={(metrics.DESIRED.name, labels): value})


async def total(world: World) -> float:
    return (await world.samples(metrics.REQUESTS.name)).get(ANSWERED, 0.0)


async def test_what_sources_count_is_added_up(world: World):
    await world.tell(ROUTER, requests(3))
    await world.tell(Source("router/2", Part.ROUTER), requests(4))
    await world.tell(ROUTER, requests(1))
    assert await total(world) == 8


async def test_a_push_that_comes_again_counts_once(world: World):
    await world.tell(ROUTER, requests(3), seq=1)
    await world.tell(ROUTER, requests(3), seq=1)
    await world.tell(ROUTER, requests(2), seq=2)
    await world.tell(ROUTER, requests(3), seq=1)
    assert await total(world) == 5


async def test_a_push_that_comes_again_after_its_source_was_given_up_counts_once(world: World):
    await world.tell(ROUTER, requests(3), seq=1)
    world.pass_time(60)
    ack = await world.tell(ROUTER, requests(3), seq=1)
    await world.tell(ROUTER, requests(2), seq=2)
    assert await total(world) == 5
    assert ack.known


async def test_totals_stay_when_their_source_goes(world: World):
    await world.tell(ROUTER, requests(3))
    await world.tell(ROUTER, requests(2), within_s=0)
    assert await total(world) == 5
    world.pass_time(3600)
    assert await total(world) == 5


async def test_an_observatory_that_begins_anew_asks_for_everything(world: World):
    await world.tell(ROUTER, requests(3))
    world.hub = World().hub  # another one, that knows nothing
    ack = await world.tell(ROUTER, requests(2))
    assert not ack.known
    assert (await world.tell(ROUTER)).known
    assert await total(world) == 2


async def test_histograms_are_added_up_bucket_by_bucket(world: World):
    registry = Registry()
    histogram = registry.histogram(metrics.REQUEST_SECONDS, *NAMES)
    for seconds in (0.0004, 0.3, 0.3, 5000.0):
        histogram.observe(seconds)
    await world.tell(ROUTER, registry.take())
    histogram.observe(0.3)
    await world.tell(ROUTER, registry.take())
    name = metrics.REQUEST_SECONDS.name
    buckets = await world.samples(f"{name}_bucket")
    assert buckets[*NAMES, "0.0005"] == 1
    assert buckets[*NAMES, "0.2"] == 1
    assert buckets[*NAMES, "0.5"] == 4
    assert buckets[*NAMES, "1200.0"] == 4
    assert buckets[*NAMES, "+Inf"] == 5
    assert (await world.samples(f"{name}_count"))[NAMES] == 5
    assert round((await world.samples(f"{name}_sum"))[NAMES], 4) == 5000.9004


async def test_a_histogram_with_other_bounds_is_left_out(world: World):
    key = (metrics.REQUEST_SECONDS.name, NAMES)
    registry = Registry()
    registry.histogram(metrics.REQUEST_SECONDS, *NAMES).observe(1)
    await world.tell(ROUTER, registry.take())
    odd = registry.take()
    registry.histogram(metrics.REQUEST_SECONDS, *NAMES).observe(1)
    odd.histograms[key] = registry.take().histograms[key]
    odd.histograms[key].counts = [1, 1]
    await world.tell(Source("router/old", Part.ROUTER), odd)
    assert (await world.samples(f"{key[0]}_count"))[NAMES] == 1


async def test_gauges_of_a_silent_source_go(world: World):
    await world.tell(queue(), gauge(2))
    await world.tell(queue("q2", "other"), gauge(3, ("other", "production")))
    world.pass_time(14.9)
    assert await world.samples(metrics.DESIRED.name) == {NAMES: 2, ("other", "production"): 3}
    await world.tell(queue("q2", "other"), gauge(3, ("other", "production")))
    world.pass_time(0.2)
    assert await world.samples(metrics.DESIRED.name) == {("other", "production"): 3}


async def test_gauges_of_a_source_that_ends_go_at_once(world: World):
    await world.tell(queue(), gauge(2))
    await world.tell(queue(), gauge(2), within_s=0)
    assert await world.samples(metrics.DESIRED.name) == {}


async def test_a_queue_takes_the_place_of_the_one_before(world: World):
    await world.tell(queue("old"), gauge(2))
    await world.tell(queue("new"), gauge(3))
    await world.tell(queue("old"), gauge(2))
    assert await world.samples(metrics.DESIRED.name) == {NAMES: 3}
    await world.tell(queue("old"), gauge(2), within_s=0)
    assert await world.samples(metrics.DESIRED.name) == {NAMES: 3}


async def test_processes_are_counted_by_part_and_versions_are_named(world: World):
    await world.tell(ROUTER)
    await world.tell(queue())
    await world.tell(queue("q2", "other"))
    processes = await world.samples(metrics.PROCESSES.name)
    assert processes == {
        ("router",): 1,
        ("queue",): 2,
        ("dispatcher",): 0,
        ("replica",): 0,
        ("observatory",): 1,
    }
    assert set(await world.samples(metrics.BUILD_INFO.name)) == {("1.2.3",), ("9.9",)}


async def test_the_more_sources_the_longer_they_pause(world: World, monkeypatch):
    monkeypatch.undo()
    first = await world.tell(ROUTER)
    for number in range(1000):
        last = await world.tell(queue(f"q{number}", f"m{number}"))
    assert first.pause_s == 1.0
    assert 3 < last.pause_s < 4


async def test_a_batch_that_cannot_be_read_is_refused_once(world: World):
    ack = await world.tell(ROUTER, Batch(counters={("nonsense", ("a",)): 1.0}))
    assert ack.known
    assert "nonsense" not in (await world.hub.metrics(""))[1].decode()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=30
    )
)
@settings(max_examples=50, deadline=None)
def test_any_number_of_repetitions_gives_the_sum(pushes: list[tuple[int, int, int]]):
    import asyncio  # noqa: PLC0415

    async def scenario() -> None:
        world = World()
        sources = [Source(f"router/{n}", Part.ROUTER) for n in range(3)]
        seqs = [0, 0, 0]
        for who, count, times in pushes:
            seqs[who] += 1
            for _ in range(times):
                await world.tell(sources[who], requests(count), seq=seqs[who])
        assert await total(world) == sum(count for _, count, _ in pushes)
        await world.hub.close()

    asyncio.run(scenario())
