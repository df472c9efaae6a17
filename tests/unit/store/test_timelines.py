"""Kept timelines: found by id, listed newest first, bounded by number and by age."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.store import Store, keys, timelines
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.timeline import Attempt, RequestFilter, Timeline, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.store.servers import Server

NOW = time.time()
STAGING = keys.tag_of("m", "staging")


def timeline(number: int, **changes: Any) -> Timeline:
    """One that ended `number` seconds after the others began to be counted."""
    facts: dict[str, Any] = {
        "request_id": f"r{number}",
        "kind": "call",
        "span_id": f"{number:016x}",
        "trace_id": f"{number:032x}",
        "began": NOW + number - 0.5,
        "seconds": 0.5,
        "status": 200,
        "outcome": "answered",
        "model": "m",
        "environment": "production",
    }
    return Timeline(**facts | changes)


def ids(found: list[Timeline]) -> list[str]:
    return [one.request_id for one in found]


async def test_a_timeline_comes_back_as_it_was(store: Store):
    kept = timeline(
        1,
        kept="cold_start",
        cold_start=True,
        waits=[Wait("no_replica", 0.0, 3.5, "ab" * 8, "r1", cold=True)],
        attempts=[Attempt(1, "r1", "http://10.0.0.1:1", 3.5, "cd" * 8, head_s=3.9, status=200)],
    )

    await store.timelines.add([kept])

    assert await store.timelines.get("r1") == [kept]


async def test_an_id_that_nobody_used_has_none(store: Store):
    assert await store.timelines.get("r1") == []
    assert await store.timelines.get("") == []
    assert await store.timelines.get("ä \0" * 1000) == []


async def test_an_id_that_is_used_often_keeps_its_last_20_newest_first(store: Store):
    await store.timelines.add([timeline(n, request_id="same") for n in range(100)])

    found = await store.timelines.get("same")

    assert [one.began for one in found] == [NOW + n - 0.5 for n in range(99, 79, -1)]
    assert len(await store.timelines.list(RequestFilter(limit=100))) == 20


async def test_a_timeline_that_is_added_again_replaces_itself(store: Store):
    await store.timelines.add([timeline(1)])
    await store.timelines.add([timeline(1, status=500)])

    assert [one.status for one in await store.timelines.list(RequestFilter())] == [500]


async def test_a_submission_is_found_by_the_id_of_what_it_handed_over(store: Store):
    await store.timelines.add([timeline(1, kind="submit", async_id="a1"), timeline(2)])

    assert ids(await store.timelines.get("a1")) == ["r1"]
    assert ids(await store.timelines.list(RequestFilter(request_id="a1"))) == ["r1"]


async def test_an_environment_keeps_the_newest_so_many(open_store: Callable[..., Store]):
    store = open_store()
    store.timelines.settings = TelemetrySettings(kept=3)
    for n in range(5):
        await store.timelines.add([timeline(n), timeline(10 + n, environment="staging")])

    found = await store.timelines.list(RequestFilter(limit=100))

    assert ids(found) == ["r14", "r13", "r12", "r4", "r3", "r2"]
    assert await store.timelines.get("r1") == []


async def test_all_together_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timelines, "IN_ALL", 4)
    await store.timelines.add([timeline(n, environment=f"e{n % 3}") for n in range(10)])

    assert ids(await store.timelines.list(RequestFilter())) == ["r9", "r8", "r7", "r6"]
    assert ids(await store.timelines.list(RequestFilter(), [keys.tag_of("m", "e0")])) == [
        "r9",
        "r6",
    ]


async def test_what_was_kept_long_enough_goes(open_store: Callable[..., Store], server: Server):
    store = open_store()
    store.timelines.settings = TelemetrySettings(keep_s=100.0)
    await store.timelines.add([timeline(1)])
    await store.timelines.add([timeline(200)])

    assert ids(await store.timelines.list(RequestFilter())) == ["r200"]
    lives = {name: server.client.pttl(name) for name in server.client.scan_iter()}
    assert lives
    assert all(0 < left <= 100_000 for left in lives.values()), lives


async def test_where_none_are_to_be_kept_nothing_is_written(
    open_store: Callable[..., Store], server: Server
):
    store = open_store()
    store.timelines.settings = TelemetrySettings(kept=0)

    await store.timelines.add([timeline(1)])
    await store.timelines.add([])

    assert server.client.dbsize() == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["r5", "r4", "r3", "r2", "r1"]),
        ({"limit": 2}, ["r5", "r4"]),
        ({"errors": True}, ["r4"]),
        ({"cold": True}, ["r3"]),
        ({"retried": True}, ["r2"]),
        ({"slow_s": 2.0}, ["r1"]),
        ({"slow": True}, ["r5"]),
        ({"outcome": "failed_replica_lost"}, ["r4"]),
        ({"since": NOW + 3.9}, ["r5", "r4"]),
        ({"environment": "staging"}, ["r5"]),
        ({"model": "m", "environment": "production"}, ["r4", "r3", "r2", "r1"]),
        ({"model": "other"}, []),
        ({"model": "m", "environment": "none"}, []),
        ({"request_id": "r2"}, ["r2"]),
        ({"request_id": "r2", "errors": True}, []),
    ],
)
async def test_a_list_holds_what_fits(store: Store, wanted: dict[str, Any], expected: list[str]):
    attempts = [Attempt(n, "r", "http://r", 0.0, "") for n in (1, 2)]
    await store.timelines.add(
        [
            timeline(1, began=NOW - 9, seconds=10.0),
            timeline(2, attempts=attempts),
            timeline(3, cold_start=True),
            timeline(4, status=502, outcome="failed_replica_lost"),
            timeline(5, kept="slow", environment="staging"),
        ]
    )

    assert ids(await store.timelines.list(RequestFilter(**wanted))) == expected


async def test_a_list_shows_only_the_environments_that_it_may(store: Store):
    production = keys.tag_of("m", "production")
    await store.timelines.add(
        [timeline(1), timeline(2, environment="staging"), timeline(3, model="", environment="")]
    )
    everything, many = RequestFilter(), [f"{n:012x}" for n in range(timelines.FEW_TAGS)]

    assert ids(await store.timelines.list(everything, [production])) == ["r1"]
    assert ids(await store.timelines.list(everything, [production, STAGING])) == ["r2", "r1"]
    assert ids(await store.timelines.list(everything, [production, *many])) == ["r1"]
    assert ids(await store.timelines.list(everything, [])) == []
    assert ids(await store.timelines.list(everything)) == ["r3", "r2", "r1"]
    assert ids(await store.timelines.list(RequestFilter(request_id="r2"), [production])) == []
    wanted = RequestFilter(model="m", environment="staging")
    assert ids(await store.timelines.list(wanted, [production])) == []


async def test_a_list_looks_at_as_many_pages_as_it_takes(store: Store):
    await store.timelines.add([timeline(n, status=500 if n < 3 else 200) for n in range(900)])

    found = await store.timelines.list(RequestFilter(errors=True))

    assert ids(found) == ["r2", "r1", "r0"]


async def test_a_list_does_not_look_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timelines, "LOOKED_AT", 400)
    await store.timelines.add([timeline(n, status=500 if n < 3 else 200) for n in range(900)])

    assert await store.timelines.list(RequestFilter(errors=True)) == []


async def test_what_cannot_be_read_is_left_out(store: Store, server: Server):
    await store.timelines.add([timeline(1), timeline(2)])
    name = f"{keys.TIMELINES}text:{2:016x}:{keys.tag_of('m', 'production')}"
    assert server.client.exists(name)

    server.client.set(name, b"\xc1", ex=100)

    assert ids(await store.timelines.list(RequestFilter())) == ["r1"]
    assert await store.timelines.get("r2") == []


async def test_text_that_is_no_unicode_costs_no_other_timeline(store: Store):
    strange = timeline(1, path="/\udc80")

    await store.timelines.add([strange, timeline(2), timeline(3, model="\udc80")])

    assert ids(await store.timelines.list(RequestFilter())) == ["r2"]
