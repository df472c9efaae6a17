"""`orchestrator trace` and its neighbours: what became of one request, told across processes."""

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

import aiohttp

from tests.integration.gates import Gates
from tests.integration.running_cluster import RunningCluster, eventually, predict_path, stages
from tests.integration.webhook_receiver import WebhookReceiver


def an_id() -> str:
    return f"scenario-{secrets.token_hex(6)}"


def named(request_id: str) -> dict[str, str]:
    return {"x-request-id": request_id}


async def trace(cluster: RunningCluster, request_id: str) -> dict[str, Any]:
    """What `orchestrator trace --json` gives, and that it can be drawn, too."""
    found: list[dict[str, Any]] = []

    # A router tells of a request as soon as it has ended, the store half a second later.
    async def known() -> bool:
        done = await cluster.command("trace", request_id, "--json")
        if done.status == 0:
            found.append(json.loads(done.output))
        return done.status == 0

    await eventually(known, f"a timeline of {request_id}")
    drawn = await cluster.command("trace", request_id)
    assert (drawn.status, drawn.errors) == (0, "")
    assert request_id in drawn.output
    return found[0]


def bars(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [bar for bar in found["bars"] if bar["name"] == name]


async def test_a_warm_request(cluster: RunningCluster) -> None:
    await cluster.predict("traced")
    request_id = an_id()

    await cluster.predict("traced", headers=named(request_id))

    found = await trace(cluster, request_id)
    assert (found["kind"], found["state"], found["level"]) == ("call", "ended", "ok")
    assert (found["status"], found["outcome"]) == (200, "answered")
    assert (found["model"], found["environment"]) == ("traced", "production")
    assert len(bars(found, "attempt")) == 1
    assert found["bars"][0]["name"] == "request"


async def test_a_cold_request_shows_the_start_it_waited_for(cluster: RunningCluster) -> None:
    await cluster.until_zero("traced/cold")
    request_id = an_id()

    await cluster.predict("traced/cold", headers=named(request_id))

    found = await trace(cluster, request_id)
    assert found["status"] == 200
    (wait,) = bars(found, "queue.wait")
    (start,) = bars(found, "replica.start")
    assert start["depth"] == wait["depth"] + 1
    stages = [bar["name"] for bar in found["bars"] if bar["depth"] == start["depth"] + 1]
    assert [stage for stage in stages if stage in {"STARTING", "LOADING", "WARMING"}] == [
        "STARTING",
        "LOADING",
        "WARMING",
    ]
    assert "start" in found["summary"]


async def test_a_retried_request_shows_both_attempts(cluster: RunningCluster, gates: Gates) -> None:
    request_id = an_id()
    with gates.held("again") as gate:
        sent = cluster.send("traced/cold", {"gate": "again"}, headers=named(request_id))
        (visit,) = await gate.until_arrived(1)
        cluster.kill(cluster.own(visit.pid))
        await gate.until_arrived(2)
        gate.open()
        await sent

    found = await trace(cluster, request_id)
    assert (found["status"], found["level"]) == (200, "warn")
    # On a kept connection the loss is first taken for one that idled too long: one more try there.
    *lost, last = (bar["level"] for bar in bars(found, "attempt"))
    assert lost in (["warn"], ["warn", "warn"])
    assert last == "ok"


async def test_a_parked_request_is_found_with_its_place_and_then_timed_out(
    cluster: RunningCluster, gates: Gates
) -> None:
    # It may park for 3 s only, which a start can take.
    await cluster.command("wake", "hasty")
    await cluster.until("hasty", lambda live: "READY" in stages(live), "a replica")
    occupant, waiting = an_id(), an_id()
    with gates.held("hasty") as gate:
        first = cluster.send("hasty", {"gate": "hasty"}, headers=named(occupant))
        await gate.until_arrived(1)
        second = cluster.send("hasty", headers=named(waiting))
        await cluster.until("hasty", lambda live: live["waiting"] == 1, "one parked")

        parked, running = await asyncio.gather(
            *(
                cluster.ask("GET", f"/api/v1/requests/{each}/timeline")
                for each in (waiting, occupant)
            )
        )
        assert (parked.json["state"], parked.json["place"]) == ("parked", {"ahead": 0})
        assert running.json["state"] == "running"
        assert (await second).status == 503
        gate.open()
        await first

    found = await trace(cluster, waiting)
    assert (found["status"], found["outcome"]) == (503, "evicted_park_timeout")
    assert bars(found, "attempt") == []
    (wait,) = bars(found, "queue.wait")
    assert 2.5 < wait["seconds"] < 6


async def test_a_request_whose_caller_has_gone(cluster: RunningCluster, gates: Gates) -> None:
    request_id = an_id()
    with gates.held("gone") as gate:
        sent = cluster.send("traced", {"gate": "gone"}, headers=named(request_id))
        await gate.until_arrived(1)
        sent.cancel()
        with suppress(asyncio.CancelledError):
            await sent
        await gate.until_left(gate.visits[0], "cancelled")

    found = await trace(cluster, request_id)
    while found["state"] != "ended":
        found = await trace(cluster, request_id)
    assert (found["status"], found["outcome"]) == (499, "failed_caller_gone")


async def test_a_stream_that_breaks_off(cluster: RunningCluster, gates: Gates) -> None:
    request_id = an_id()
    with gates.held("broken") as gate, suppress(aiohttp.ClientPayloadError):
        gate.open()
        async with cluster.request(
            "POST",
            predict_path("traced/cold"),
            json={"gate": "broken", "stream": 4, "die": 2},
            headers=named(request_id),
        ) as response:
            await response.read()

    found = await trace(cluster, request_id)
    assert (found["outcome"], found["level"]) == ("failed_replica_lost", "error")
    assert found["error"]
    assert len(bars(found, "attempt")) == 1


async def test_an_asynchronous_request_with_two_tries_of_its_webhook(
    cluster: RunningCluster,
) -> None:
    async with WebhookReceiver() as receiver:
        accepted = await cluster.ask(
            "POST",
            "/models/traced/environments/production/async_predict",
            json={"model_input": {}, "webhook_endpoint": receiver.url(failures=1)},
        )
        request_id = accepted.json["request_id"]
        await receiver.until_tried(2)

    found = await trace(cluster, request_id)
    assert (found["kind"], found["outcome"]) == ("async", "SUCCEEDED")
    assert len(bars(found, "run")) == 1
    assert len(bars(found, "submit")) == 1

    async def delivered() -> bool:
        tries = bars(await trace(cluster, request_id), "webhook.deliver")
        return [bar["level"] for bar in tries] in (["warn", "ok"], ["error", "ok"])

    await eventually(delivered, "both tries")


async def test_ids_that_are_unknown_or_none(cluster: RunningCluster) -> None:
    unknown, malformed = await asyncio.gather(
        cluster.command("trace", an_id()), cluster.command("trace", "no id at all!")
    )
    assert unknown.status == 1
    assert malformed.status in {1, 2}
    assert "is no request id" in malformed.errors
    answers = await asyncio.gather(
        *(
            cluster.ask("GET", f"/api/v1/requests/{each}/timeline")
            for each in (an_id(), "%20%20", "x" * 300)
        )
    )
    assert [answer.status for answer in answers] == [404, 400, 400]


async def test_requests_are_listed_by_what_was_the_matter_with_them(
    cluster: RunningCluster,
) -> None:
    request_id = an_id()
    await cluster.predict("traced", {"fail": 1, "label": request_id}, headers=named(request_id))

    listed = await cluster.command(
        *("requests", "--errors", "--since", "10m", "--environment", "production", "--json")
    )

    assert listed.status == 0, listed.errors
    found = {each["request_id"]: each for each in json.loads(listed.output)["requests"]}
    assert found[request_id]["status"] == 500
    assert all(each["environment"] == "production" for each in found.values())
    assert all(each["status"] >= 499 or each["outcome"] != "answered" for each in found.values())


async def test_what_a_model_says_of_a_request_is_found_by_its_id(cluster: RunningCluster) -> None:
    ours, other = an_id(), an_id()
    for request_id in (ours, other):
        await cluster.predict("traced", {"say": f"for {request_id}"}, headers=named(request_id))

    said = await cluster.command("logs", "traced", "--request", ours, "--json")

    lines = [json.loads(line) for line in said.output.splitlines()]
    assert [line["text"] for line in lines] == [f"for {ours}"]
    assert lines[0]["request_id"] == ours
    everything = await cluster.command("logs", "traced")
    assert f"for {other}" in everything.output
