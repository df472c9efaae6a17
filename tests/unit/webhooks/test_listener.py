"""The receiver for trying things out, with a real sender."""

from __future__ import annotations

import asyncio
import io
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
from rich.console import Console

from orchestrator.webhooks import listener as module
from orchestrator.webhooks.listener import Received, listen, listening, printer
from orchestrator.webhooks.payload import payload
from orchestrator.webhooks.receivers import ReceiverPolicy
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signatures import headers
from tests.unit.webhooks.receiving import ID, delivery, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
OTHER = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI="
BODY = payload(record(), b'{"a": 1}')


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(ReceiverPolicy(allow_http=True, allowed_networks=["127.0.0.0/8"]))
    yield made
    await made.close()


async def test_what_is_signed_is_verified_and_taken_once(sender: Sender) -> None:
    came: list[Received] = []
    async with listening(secrets=[SECRET], on_delivery=came.append) as url:
        for _ in range(2):
            sent = await sender.send(delivery(url), BODY, [OTHER, SECRET])
            assert sent.line.status == 200
    assert [received.request_id for received in came] == [ID, ID]
    assert all(received.verified for received in came)
    assert [(received.times, received.again) for received in came] == [(1, False), (2, True)]
    assert came[0].body == BODY


async def test_what_is_not_signed_with_the_secret_is_not_taken(sender: Sender) -> None:
    came: list[Received] = []
    async with listening(secrets=[SECRET], on_delivery=came.append) as url:
        for secrets in ([OTHER], []):
            assert (await sender.send(delivery(url), BODY, secrets)).line.status == 401
        assert (await sender.send(delivery(url), BODY, [SECRET])).line.status == 200
    assert [(received.standard, received.baseten) for received in came] == [
        (False, False),
        (None, None),
        (True, True),
    ]
    assert not came[2].again, "it was not taken before"


@pytest.mark.parametrize("missing", ["webhook-signature", "X-BASETEN-SIGNATURE"])
async def test_one_of_the_two_signatures_is_not_enough(missing: str) -> None:
    signed = headers([SECRET], ID, int(time.time()), BODY)
    del signed[missing]
    async with (
        listening(secrets=[SECRET], on_delivery=str) as url,
        aiohttp.ClientSession() as session,
        session.post(url, data=BODY, headers=signed) as response,
    ):
        assert response.status == 401


async def test_without_a_secret_everything_is_taken(sender: Sender) -> None:
    came: list[Received] = []
    async with listening(on_delivery=came.append) as url:
        assert (await sender.send(delivery(url), BODY, [SECRET])).line.status == 200
    assert not came[0].verified
    assert came[0].standard is came[0].baseten is None


async def test_it_fails_as_often_as_it_is_told_for_each_webhook(sender: Sender) -> None:
    statuses = []
    async with listening(fail=2, status=429, on_delivery=str) as url:
        for request_id in (ID, ID, ID, "d" * 32, ID):
            due = delivery(url, request_id=request_id)
            statuses.append((await sender.send(due, BODY, [])).line.status)
    assert statuses == [429, 429, 200, 429, 200]


async def test_only_so_many_webhooks_are_remembered(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDS", 2)
    came: list[Received] = []
    async with listening(on_delivery=came.append) as url:
        for digit in "abcab":
            await sender.send(delivery(url, request_id=digit * 32), BODY, [])
    assert [received.again for received in came] == [False] * 5


async def test_it_listens_until_it_is_stopped() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(listen("127.0.0.1", 0, on_delivery=str, on_ready=ready.set_result))
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.post(f"{await ready}any/path", data=BODY) as response,
    ):
        assert await response.json() == {"received": True, "again": False}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_port_that_is_taken_is_said() -> None:
    async with listening(on_delivery=str) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with listening(port=port, on_delivery=str):
                pass


def _printed(*received: Received) -> str:
    out = io.StringIO()
    show = printer(Console(file=out, width=200, color_system=None))
    for one in received:
        show(one)
    return out.getvalue()


def _received(body: bytes = BODY, **facts: object) -> Received:
    known: dict[str, object] = {
        "standard": True, "baseten": True, "times": 1, "again": False, "status": 200,
    }  # fmt: skip
    return Received(ID, body, **{**known, **facts})  # type: ignore[arg-type]


def test_what_comes_is_shown() -> None:
    shown = _printed(_received())
    assert f"{ID}  signatures fit  answered 200" in shown
    assert '"type": "async_request_completed"' in shown


def test_repeats_are_said_to_be_and_their_body_is_not_shown_again() -> None:
    shown = _printed(_received(times=2, again=True))
    assert "again, time 2: already taken" in shown
    assert "async_request_completed" not in shown


def test_what_does_not_verify_is_said_to_be_so() -> None:
    shown = _printed(_received(standard=False, baseten=None, status=401, times=3))
    assert "webhook-signature does not fit, X-BASETEN-SIGNATURE is missing" in shown
    assert "answered 401" in shown
    assert "time 3" in shown
    assert "not verified" in _printed(_received(standard=None, baseten=None))


@pytest.mark.parametrize(
    "body",
    [
        b"\x1b]0;title\x07[bold]no markup[/bold]",
        b'"\\u009b2J[bold]no markup[/bold]"',
        b"\xff",
        b"[" * 3000,
        b"[" * 9000,
    ],
)
def test_any_body_is_shown_without_harm(body: bytes) -> None:
    shown = _printed(_received(body))
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert len(shown) < 6000
    if b"bold" in body:
        assert "[bold]no markup[/bold]" in shown


def test_an_id_is_shown_without_harm() -> None:
    out = io.StringIO()
    printer(Console(file=out, width=200, color_system=None))(
        Received("\x1b[2J[red]", b"{}", None, None, times=1, again=False, status=200)
    )
    assert "\x1b" not in out.getvalue()
    assert "[red]" in out.getvalue()


def test_headers_that_the_sender_makes_are_what_the_listener_reads() -> None:
    assert set(headers([SECRET], ID, 1, BODY)) == {
        "X-BASETEN-REQUEST-ID",
        "X-BASETEN-SIGNATURE",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
