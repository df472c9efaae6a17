"""Webhooks with results that have to be read first."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from orchestrator.dispatcher import deliveries as module
from orchestrator.lifecycle.webhook import BreakerRules
from orchestrator.store.records import Result
from orchestrator.store.results import ResultStore, ResultUnavailable
from orchestrator.webhooks.traffic import Traffic
from tests.unit.dispatcher.deliveries.office import TOLERANT, Busy, Place
from tests.unit.store.world import until
from tests.unit.webhooks.receiving import saying

if TYPE_CHECKING:
    import pytest


async def test_large_results_are_read_from_where_they_are(place: Place, tmp_path: Any) -> None:
    results = ResultStore(tmp_path.as_uri(), inline_bytes=10)
    data = json.dumps(["x" * 1000] * 1000).encode()
    receiver = await place.receiver(saying())
    place.office(results=results)
    await place.world.submit(webhook=receiver.url())
    claim = await place.world.claim()
    result = await results.put(claim.request_id, claim.attempt, data, "application/json")
    assert result.reference is not None
    assert await place.store.requests.succeed(claim.request_id, claim.attempt, result)
    await place.delivered(claim.request_id)
    assert json.loads(receiver.posts[0].body)["data"] == json.loads(data)
    results.close()


class Shelf:
    """Results by reference, in memory."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.reading = 0
        self.most_reading = 0

    async def read(self, reference: str) -> bytes:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _with_reference(place: Place, url: str, size: int = 10) -> str:
    await place.world.submit(webhook=url)
    claim = await place.world.claim()
    result = Result("application/json", size, None, f"2026-07-01/{claim.request_id}.1")
    assert await place.store.requests.succeed(claim.request_id, claim.attempt, result)
    return claim.request_id


async def test_a_result_that_cannot_be_read_now_is_tried_again(place: Place) -> None:
    receiver = await place.receiver(saying())
    shelf = Shelf(ResultUnavailable("No such bucket"), b"[1]")
    place.office(results=shelf, traffic=Traffic(16, BreakerRules(failures=1)))
    request_id = await _with_reference(place, receiver.url())
    await place.delivered(request_id)
    log = await place.log(request_id)
    assert [line.error for line in log] == [
        "not sent: the result could not be read: No such bucket",
        "",
    ]


async def test_an_error_that_nobody_foresaw_is_a_failed_try_and_gives_nothing_away(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await place.receiver(saying())
    shelf = Shelf(RuntimeError("s3://key:hush@bucket"), b"[1]")
    place.office(results=shelf)
    request_id = await _with_reference(place, receiver.url())
    await place.delivered(request_id)
    log = await place.log(request_id)
    assert log[0].error == "not sent: something went wrong in the dispatcher itself"
    assert f"webhook of {request_id}: RuntimeError" in caplog.text
    assert "hush" not in caplog.text


async def test_large_results_are_in_memory_one_after_the_other(place: Place) -> None:
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office(results=Shelf(b"[1]"), traffic=Traffic(16, TOLERANT, result_bytes=100))
    ids = [await _with_reference(place, receiver.url(), size=80) for _ in range(5)]
    await receiver.until(posts=1)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)
    assert busy.most == 1


async def test_who_waits_too_long_for_memory_comes_again_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_S", 0.02)
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office(results=Shelf(b"[1]"), traffic=Traffic(16, TOLERANT, result_bytes=100))
    ids = [await _with_reference(place, receiver.url(), size=80) for _ in range(2)]
    await receiver.until(posts=1)

    async def pending() -> float | None:
        return (await place.store.requests.look(place.world.tag, 0)).next_s

    await until(pending, lambda next_s: next_s is not None and next_s < 2.0)
    busy.gate.set()
    for request_id in ids:
        await place.delivered(request_id)
        assert [line.attempt for line in await place.log(request_id)] == [1]


async def test_only_the_wait_for_memory_is_limited_by_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_S", 0.05)
    busy = Busy()
    receiver = await place.receiver(busy)
    place.office()
    request_id = await place.ended(receiver.url())
    await receiver.until(posts=1)
    asyncio.get_running_loop().call_later(0.3, busy.gate.set)
    await place.delivered(request_id)
    assert len(receiver.posts) == 1
