"""What becomes of webhooks, by what their receivers answer."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import standardwebhooks

from orchestrator.lifecycle.async_request import ErrorCode, WebhookStatus
from orchestrator.lifecycle.webhook import DeliveryRules
from orchestrator.store.records import Error
from orchestrator.webhooks import signatures
from orchestrator.webhooks.receivers import ReceiverPolicy
from tests.unit.store.world import until
from tests.unit.webhooks.receiving import in_turn, saying

if TYPE_CHECKING:
    from tests.unit.dispatcher.deliveries.office import Place


async def test_a_webhook_is_delivered_once_and_written_down(place: Place) -> None:
    receiver = await place.receiver(saying(202, b"thanks"))
    place.office()
    request_id = await place.ended(receiver.url(path="/hook?a=b"))
    record = await place.delivered(request_id)
    (post,) = receiver.posts
    said = json.loads(post.body)
    assert said["request_id"] == post.headers["webhook-id"] == request_id
    assert said["data"] == {"a": 42}
    assert said["errors"] == []
    assert said["time"].endswith("Z")
    (line,) = await place.log(request_id)
    assert (line.attempt, line.status, line.answer) == (1, 202, "thanks")
    assert record.webhook_status is WebhookStatus.SUCCEEDED


async def test_a_failed_request_is_told_of_with_its_error(place: Place) -> None:
    receiver = await place.receiver(saying())
    place.office()
    await place.world.submit(webhook=receiver.url())
    claim = await place.world.claim()
    error = Error(ErrorCode.MODEL_INVALID_INPUT, "no prompt")
    assert await place.store.requests.fail(claim.request_id, claim.attempt, error)
    await place.delivered(claim.request_id)
    said = json.loads(receiver.posts[0].body)
    assert said["data"] is None
    assert said["errors"] == [{"code": "MODEL_INVALID_INPUT", "message": "no prompt"}]


async def test_an_expired_request_is_told_of(place: Place) -> None:
    receiver = await place.receiver(saying())
    place.office()
    request_id = await place.world.submit(webhook=receiver.url(), max_queue_s=0.01)
    await place.delivered(request_id)
    said = json.loads(receiver.posts[0].body)
    assert said["data"] is None
    assert [error["code"] for error in said["errors"]] == ["MODEL_NOT_READY"]


async def test_a_failing_receiver_gets_the_same_webhook_again(place: Place) -> None:
    receiver = await place.receiver(in_turn(saying(500), saying(302, Location="/"), saying()))
    place.office()
    request_id = await place.ended(receiver.url())
    await place.delivered(request_id)
    assert len({post.body for post in receiver.posts}) == 1
    assert {post.headers["webhook-id"] for post in receiver.posts} == {request_id}
    log = await place.log(request_id)
    assert [(line.attempt, line.status) for line in log] == [(1, 500), (2, 302), (3, 200)]


async def test_when_the_schedule_is_used_up_it_is_a_dead_letter_that_can_be_replayed(
    place: Place,
) -> None:
    receiver = await place.receiver(in_turn(*[saying(503)] * 3, saying()))
    place.office()
    request_id = await place.ended(receiver.url())
    assert await place.dead(request_id) == "all tries failed; the last: the receiver answered 503"
    assert len(await place.log(request_id)) == 3
    assert await place.store.deliveries.replay(request_id)
    await place.delivered(request_id)
    assert len(receiver.posts) == 4


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_receiver_that_does_not_want_it_is_not_asked_again(
    place: Place, status: int
) -> None:
    receiver = await place.receiver(saying(status))
    place.office()
    assert await place.dead(await place.ended(receiver.url())) == f"the receiver answered {status}"
    assert len(receiver.posts) == 1


async def test_retry_after_is_waited_for(place: Place) -> None:
    receiver = await place.receiver(saying(429, Retry_After="500"))
    place.office()
    request_id = await place.ended(receiver.url())
    await until(lambda: place.log(request_id), len)
    backlog = await place.store.requests.look(place.world.tag, 0)
    assert backlog.next_s is not None
    assert 490 < backlog.next_s < 560


async def test_a_receiver_that_is_not_allowed_any_more(place: Place) -> None:
    receiver = await place.receiver(saying())
    office = place.office(policy=ReceiverPolicy(allow_http=True), rules=DeliveryRules())
    assert "not a public address" in await place.dead(await place.ended(receiver.url()))
    assert receiver.connections == 0
    assert office.traffic.busy() == []


async def test_a_name_that_resolves_to_a_private_address_at_delivery(place: Place) -> None:
    async def look(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    receiver = await place.receiver(saying())
    place.office(policy=ReceiverPolicy(allow_http=True, lookup=look))
    reason = await place.dead(await place.ended(receiver.url("rebinding.example")))
    assert "rebinding.example resolves to an address that is not public" in reason
    assert receiver.connections == 0


async def test_webhooks_are_signed_with_the_keys_of_the_moment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "KEYS_KEPT_S", 0.0)
    receiver = await place.receiver(saying())
    place.office()
    keys = place.store.signing_keys

    async def headers_of_the_next() -> dict[str, str]:
        await place.delivered(await place.ended(receiver.url()))
        return dict(receiver.posts[-1].headers)

    def verifies(headers: dict[str, str], secret: str | None) -> bool:
        assert secret is not None
        try:
            standardwebhooks.Webhook(secret).verify(receiver.posts[-1].body, headers)
        except standardwebhooks.webhooks.WebhookVerificationError:
            return False
        return True

    assert "webhook-signature" not in await headers_of_the_next()
    old = await keys.create()
    assert verifies(await headers_of_the_next(), old.secret)
    new = await keys.rotate()
    during = await headers_of_the_next()
    assert verifies(during, old.secret)
    assert verifies(during, new.secret)
    assert await keys.delete(old.key_id)
    after = await headers_of_the_next()
    assert not verifies(after, old.secret)
    assert verifies(after, new.secret)


async def test_nothing_secret_is_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = await place.store.signing_keys.create()
    receiver = await place.receiver(in_turn(saying(500), saying(410)))
    place.office()
    await place.dead(await place.ended(receiver.url(path="/hook?token=hush")))
    assert "is given up" in caplog.text
    assert "hush" not in caplog.text
    assert key.secret is not None
    assert key.secret not in caplog.text
