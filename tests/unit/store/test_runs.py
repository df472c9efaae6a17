"""What is told of the runs of a request is kept with it, by the number of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.telemetry.timeline import Attempt, Run
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World, until

if TYPE_CHECKING:
    from orchestrator.store.records import Claim
    from tests.unit.store.servers import Server

CONTEXT = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "a=1"}


def run_of(claim: Claim, **changes: Any) -> Run:
    facts: dict[str, Any] = {
        "attempt": claim.run,
        "source": "d1",
        "span_id": f"{claim.attempt:016x}",
        "began": 1.5,
        "seconds": 0.25,
        "waited_s": claim.waited_s,
        "cold": False,
        "wait_span_id": "",
        "tried": Attempt(1, "r1", "http://10.0.0.1:1", 0.0, "ef" * 8, status=200),
    }
    return Run(**facts | changes)


async def test_a_run_is_kept_with_the_request_that_it_ended(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    run = run_of(claim)

    await world.requests.succeed(request_id, claim.attempt, RESULT, run)

    assert (await world.record(request_id)).runs == (run,)


async def test_all_runs_that_were_told_are_kept_in_order(world: World):
    request_id = await world.submit()
    runs = []
    for code in ("MODEL_UNAVAILABLE", "MODEL_PREDICT_TIMEOUT"):
        claim = await world.claim()
        runs.append(run_of(claim, code=code, message="it did not work"))
        await world.requests.put_back(request_id, claim.attempt, BAD, 0.0, runs[-1])
    claim = await world.claim()
    runs.append(run_of(claim, code=BAD.code.value, message=BAD.message))

    await world.requests.fail(request_id, claim.attempt, BAD, runs[-1])

    assert (await world.record(request_id)).runs == tuple(runs)
    assert [run.attempt for run in runs] == [1, 2, 3]


async def test_a_run_that_was_none_is_not_kept_and_not_counted(world: World):
    request_id = await world.submit()
    for _ in range(3):
        claim = await world.claim()
        assert claim.run == 1
        await world.requests.put_back(request_id, claim.attempt, None, 0.0, run_of(claim))
    claim = await world.claim()
    run = run_of(claim)
    await world.requests.succeed(request_id, claim.attempt, RESULT, run)

    assert (claim.attempt, claim.run) == (4, 1)
    assert (await world.record(request_id)).runs == (run,)


async def test_a_run_whose_lease_was_lost_leaves_a_gap(world: World):
    request_id = await world.submit()
    first = await world.claim(lease_s=0.0)
    await until(lambda: world.requests.look(world.tag, 0), lambda backlog: backlog.ready)
    second = await world.claim()

    assert not await world.requests.succeed(request_id, first.attempt, RESULT, run_of(first))
    await world.requests.succeed(request_id, second.attempt, RESULT, run_of(second))

    assert [run.attempt for run in (await world.record(request_id)).runs] == [2]


async def test_a_report_without_a_run_is_a_report(world: World):
    request_id = await world.submit()
    claim = await world.claim()

    assert await world.requests.fail(request_id, claim.attempt, BAD)

    assert (await world.record(request_id)).runs == ()


async def test_runs_are_kept_as_long_as_their_request(world: World, server: Server):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.succeed(request_id, claim.attempt, RESULT, run_of(claim))

    names = [name.decode() for name in server.client.scan_iter(match="*run*")]

    assert names == []
    assert server.client.pttl(f"orch:{{{world.tag}}}:request:{request_id}") > 0


async def test_what_cannot_be_read_of_a_run_is_left_out(world: World, server: Server):
    request_id = await world.succeeded()
    server.client.hset(f"orch:{{{world.tag}}}:request:{request_id}", "run:1", b"\xc1")

    assert (await world.record(request_id)).runs == ()


async def test_a_delivery_knows_the_last_run_and_the_context(world: World):
    request_id = await world.submit(webhook=WEBHOOK, **CONTEXT)
    claim = await world.claim()
    assert (claim.traceparent, claim.tracestate) == tuple(CONTEXT.values())
    await world.requests.put_back(request_id, claim.attempt, BAD, 0.0, run_of(claim))
    claim = await world.claim()
    last = run_of(claim)
    await world.requests.succeed(request_id, claim.attempt, RESULT, last)

    delivery = await world.delivery()

    assert delivery.record.runs == (last,)
    assert delivery.record.traceparent == CONTEXT["traceparent"]
    assert delivery.record.tracestate == CONTEXT["tracestate"]


async def test_a_delivery_of_what_never_ran_knows_of_none(world: World):
    await world.submit(webhook=WEBHOOK, max_queue_s=0.0)
    await world.sweep()

    assert (await world.delivery()).record.runs == ()


async def test_lists_are_without_runs(world: World):
    request_id = await world.submit()
    claim = await world.claim()
    await world.requests.succeed(request_id, claim.attempt, RESULT, run_of(claim))

    page = await world.requests.list(world.tag, limit=10)

    assert [record.runs for record in page.records] == [()]


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
async def test_a_claim_says_how_long_it_was_queued_this_time_and_in_all(
    world: World, pause_s: float
):
    request_id = await world.submit()
    first = await world.claim()
    await world.requests.put_back(request_id, first.attempt, BAD, pause_s)
    await until(lambda: world.requests.look(world.tag, 0), lambda backlog: backlog.ready)

    second = (await world.requests.claim(world.tag, 1, LONG_S))[0]

    assert pause_s <= second.waited_s < second.age_s
    assert first.waited_s == first.age_s
