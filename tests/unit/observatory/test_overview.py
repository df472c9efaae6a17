"""All environments at a glance: what has changed, what is gone, what is an age."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Batch, Registry
from tests.unit.observatory.world import NAMES, ROUTER, World, queue


def live(**kwargs: Any) -> dict[str, Any]:
    return {
        "status": "ACTIVE",
        "deployment": "v1",
        "waiting": 0,
        "in_use": 0,
        "kept": 0,
        "slots": 4,
        "desired": 1,
        "decision": "load",
        "replicas": [{"id": "r1", "stage": "READY"}],
        **kwargs,
    }


def ended(count: int, outcome: str = "answered", seconds: float = 0.1) -> Batch:
    registry = Registry()
    for _ in range(count):
        registry.counter(metrics.REQUESTS, *NAMES, outcome).add()
        registry.histogram(metrics.REQUEST_SECONDS, *NAMES).observe(seconds)
    return registry.take()


async def test_a_row_says_how_an_environment_is(world: World):
    await world.tell(
        queue(),
        live=live(
            waiting=3,
            in_use=2,
            kept=1,
            desired=2,
            oldest_at=world.wall - 4,
            replicas=[{"stage": "READY"}, {"stage": "LOADING"}],
            provisioning={"count": 1, "since": world.wall - 9, "needs": {"num_gpus": 1}},
        ),
        decisions=[{"at": 5.0, "before": 1, "desired": 2, "reason": "3.0 in flight"}],
    )
    await world.tell(ROUTER, ended(9))
    await world.tell(ROUTER, ended(1, "failed_timeout", 30.0))
    await world.tell(ROUTER, Batch(counters={(metrics.COLD_STARTS.name, NAMES): 2.0}))
    row = (await world.rows())["echo/production"]
    assert row["status"] == "ACTIVE"
    assert (row["waiting"], row["oldest_wait_s"]) == (3, 4.0)
    assert (row["in_flight"], row["permits"], row["slots"], row["desired"]) == (2, 3, 4, 2)
    assert row["replicas"] == {"READY": 1, "LOADING": 1, "PROVISIONING": 1}
    assert row["provisioning"] == {"count": 1, "for_s": 9.0, "needs": {"num_gpus": 1}}
    assert row["requests_per_s"] == round(10 / 60, 3)
    assert row["error_rate"] == 0.1
    assert row["p95_s"] > 10
    assert row["cold_starts"] == 2
    assert row["decision"] == {"at": 5.0, "desired": 2, "reason": "load"}
    assert {name: len(points) for name, points in row["spark"].items()} == {
        "requests": 60,
        "waiting": 60,
        "p95": 60,
    }


async def test_what_callers_brought_about_is_no_error(world: World):
    await world.tell(queue(), live=live())
    for outcome in ("rejected_invalid", "evicted_caller_gone", "failed_caller_gone"):
        await world.tell(ROUTER, ended(1, outcome))
    assert (await world.rows())["echo/production"]["error_rate"] == 0


async def test_only_what_has_changed_comes_again(world: World):
    await world.tell(queue(), live=live())
    await world.tell(queue("q2", "other"), live=live())
    first = await world.hub.overview(0)
    assert first.full
    assert len(first.rows) == 2
    assert (await world.hub.overview(first.version)).rows == []
    await world.tell(queue("q2", "other"), live=live(in_use=1))
    second = await world.hub.overview(first.version)
    assert not second.full
    assert [row.model for row in second.rows] == ["other"]
    assert second.version > first.version
    assert msgspec.json.decode(second.rows[0].data)["version"] == second.version


async def test_a_push_that_says_the_same_makes_no_other_row(world: World):
    await world.tell(queue(), live=live())
    first = await world.hub.overview(0)
    await world.tell(queue(), live=live())
    assert (await world.hub.overview(first.version)).rows == []


async def test_rates_fall_when_nothing_comes_any_more(world: World):
    await world.tell(queue(), live=live())
    await world.tell(ROUTER, ended(10))
    assert (await world.rows())["echo/production"]["requests_per_s"] > 0
    since = (await world.hub.overview(0)).version
    for _ in range(13):
        world.pass_time(5)
        await world.tell(queue(), live=live())
    row = (await world.rows(since))["echo/production"]
    assert row["requests_per_s"] == 0
    assert row["p95_s"] is None
    assert max(row["spark"]["requests"]) > 0


async def test_an_environment_is_gone_some_time_after_its_queue(world: World):
    await world.tell(queue(), live=live())
    first = await world.hub.overview(0)
    await world.tell(queue(), within_s=0)
    world.pass_time(10)
    assert (await world.hub.overview(first.version)).gone == []
    world.pass_time(10)
    later = await world.hub.overview(first.version)
    assert later.gone == [("echo", "production")]
    assert (await world.hub.overview(0)).rows == []
    await world.tell(queue("q2"), live=live())
    back = await world.hub.overview(later.version)
    assert [row.model for row in back.rows] == ["echo"]


async def test_an_environment_is_back_with_the_same_state_as_before(world: World):
    await world.tell(queue(), live=live())
    first = await world.hub.overview(0)
    world.pass_time(40)
    gone = await world.hub.overview(first.version)
    assert gone.gone
    await world.tell(queue("q2"), live=live())
    assert len((await world.hub.overview(gone.version)).rows) == 1


async def test_the_versions_of_a_new_observatory_are_higher(world: World):
    await world.tell(queue(), live=live())
    old = await world.hub.overview(0)
    again = World()
    again.wall = world.wall + 1
    again.hub = type(world.hub)("9.9", clock=lambda: again.now, wall=lambda: again.wall)
    new = await again.hub.overview(old.version)
    assert new.full
    assert new.version > old.version
    assert new.rows == []


async def test_what_was_counted_of_an_environment_is_forgotten_long_after_it_has_gone(world: World):
    await world.tell(queue(), live=live())
    await world.tell(ROUTER, ended(3))
    world.pass_time(40)
    world.pass_time(1000)
    assert await world.samples(metrics.REQUESTS.name)
    world.pass_time(4000)
    assert await world.samples(metrics.REQUESTS.name) == {}
    assert await world.hub.history(*NAMES, 15) is None


async def test_an_environment_in_full(world: World):
    starts = [{"replica": "r1", "at": 1.0, "seconds": 2.0, "result": "ready", "stages": {}}]
    await world.tell(
        queue(),
        live=live(classes={"sync": {"waiting": 2, "in_use": 1, "oldest_at": world.wall - 3}}),
        decisions=[{"at": 5.0, "before": 0, "desired": 1, "reason": "load"}],
        starts=starts,
    )
    await world.tell(ROUTER, ended(5))
    world.pass_time(5)
    found = await world.hub.history(*NAMES, 1)
    assert found is not None
    history = msgspec.json.decode(found)
    assert history["series"]["requests"] == [0] * 11 + [5]
    assert history["end"] % 5 == 0
    assert history["starts"] == starts
    assert history["decisions"][0]["reason"] == "load"
    assert history["replicas"] == [{"id": "r1", "stage": "READY"}]
    assert history["queue"] == [{"class": "sync", "waiting": 2, "in_flight": 1, "oldest_s": 8.0}]


async def test_starts_that_go_on_are_told_with_those_that_have_ended(world: World):
    loading = {
        "id": "r2",
        "deployment": "v1",
        "stage": "LOADING",
        "started": world.wall - 3,
        "stages": {"PROVISIONING": 2.0, "STARTING": 1.0},
    }
    await world.tell(
        queue(),
        live=live(
            replicas=[{"id": "r1", "stage": "READY"}, loading],
            provisioning={"count": 1, "since": world.wall - 1, "needs": {}},
        ),
        starts=[{"replica": "r1", "result": "ready", "at": 1.0, "stages": {}}],
    )
    ready, second, third = await world.hub.starts(*NAMES)
    assert ready["replica"] == "r1"
    assert (second["replica"], second["result"], second["stage"]) == ("r2", "starting", "LOADING")
    assert second["seconds"] == 5.0
    assert (third["stage"], third["seconds"]) == ("PROVISIONING", 1.0)
    assert await world.hub.starts("no", "such") == []


async def test_a_state_that_cannot_be_read_is_shown_as_unknown(world: World):
    await world.tell(queue(), live=["nonsense"])
    assert (await world.rows())["echo/production"]["status"] == "UNKNOWN"
