"""What is told of webhooks: spans below the submission, headers, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.dispatcher.tales import Tales
from orchestrator.lifecycle.async_request import WebhookStatus
from orchestrator.telemetry.timeline import Attempt, Run
from tests.unit.dispatcher.telling import Told, attributes, parent_id, span_id, trace_id
from tests.unit.store.world import RESULT
from tests.unit.webhooks.receiving import in_turn, saying

if TYPE_CHECKING:
    from tests.unit.dispatcher.deliveries.office import Office, Place

TRACE, SUBMIT, RUN = "ab" * 16, "cd" * 8, "12" * 8


async def ended(place: Place, url: str, *, sampled: bool = True, **run: Any) -> str:
    context = f"00-{TRACE}-{SUBMIT}-0{int(sampled)}"
    await place.world.submit(webhook=url, traceparent=context, tracestate="a=1")
    claim = await place.world.claim()
    told: dict[str, Any] = {
        "attempt": 1,
        "source": "d1",
        "span_id": RUN,
        "began": 1.0,
        "seconds": 1.0,
        "waited_s": 0.0,
        "cold": False,
        "wait_span_id": "",
        "tried": Attempt(1, "r1", "http://10.0.0.1", 0.0, "34" * 8),
    }
    await place.store.requests.succeed(claim.request_id, claim.attempt, RESULT, Run(**told | run))
    return claim.request_id


async def close(office: Office) -> None:
    """Until all that was recorded is told."""
    await office.deliveries.close(5.0)


async def test_each_try_has_a_span_that_the_receiver_goes_on_with(place: Place) -> None:
    receiver = await place.receiver(in_turn(saying(503), saying(200)))
    told = Told()
    told.telling.configure(told.telling.settings)
    office = place.office(tales=Tales(told.telling))
    request_id = await ended(place, receiver.url(path="/secret?token=1"))
    await place.delivered(request_id)
    await close(office)

    first, second = told.spans("webhook.deliver")
    assert {trace_id(span) for span in (first, second)} == {TRACE}
    assert {parent_id(span) for span in (first, second)} == {SUBMIT}
    assert [f"{link.context.span_id:016x}" for link in first.links] == [RUN]
    assert [post.headers["traceparent"] for post in receiver.posts] == [
        f"00-{TRACE}-{span_id(span)}-01" for span in (first, second)
    ]
    assert {post.headers["tracestate"] for post in receiver.posts} == {"a=1"}
    statuses = [attributes(span)["http.response.status_code"] for span in (first, second)]
    verdicts = [attributes(span)["orchestrator.webhook.verdict"] for span in (first, second)]
    assert statuses == [503, 200]
    assert verdicts == ["retry", "delivered"]
    assert "secret" not in str([attributes(span) for span in (first, second)])


@pytest.mark.parametrize(
    ("run", "flag"), [({}, "00"), ({"cold": True}, "01"), ({"attempt": 2}, "01")]
)
async def test_without_sampling_only_what_is_kept_anyway_is_told(
    place: Place, run: dict[str, Any], flag: str
) -> None:
    receiver = await place.receiver(saying())
    told = Told()
    told.telling.configure(told.telling.settings)
    office = place.office(tales=Tales(told.telling))
    await place.delivered(await ended(place, receiver.url(), sampled=False, **run))
    await close(office)

    assert receiver.posts[0].headers["traceparent"].endswith(f"-{flag}")
    assert len(told.spans()) == int(flag)


async def test_tries_are_counted_by_what_came_of_them(place: Place) -> None:
    receiver = await place.receiver(in_turn(saying(500), saying(200), saying(410)))
    told = Told()
    office = place.office(tales=Tales(told.telling))
    await place.delivered(await ended(place, receiver.url()))
    given_up = await ended(place, receiver.url())
    await place.until(given_up, WebhookStatus.FAILED)
    await close(office)

    batch = told.batch()
    counted = {
        labels[2]: count
        for (name, labels), count in batch.counters.items()
        if name == "orchestrator_webhooks_total"
    }
    assert counted == {"retry": 1, "delivered": 1, "stop": 1}
    measured = batch.histograms["orchestrator_webhook_seconds", ("m", "production")]
    assert sum(measured.counts) == 3


async def test_a_schedule_that_is_used_up_counts_as_given_up(place: Place) -> None:
    receiver = await place.receiver(saying(500))
    told = Told()
    office = place.office(tales=Tales(told.telling))
    request_id = await ended(place, receiver.url())
    await place.dead(request_id)
    await close(office)

    counted = [
        (labels[2], count)
        for (name, labels), count in sorted(told.batch().counters.items())
        if name == "orchestrator_webhooks_total"
    ]
    assert counted == [("retry", 2), ("stop", 1)]
