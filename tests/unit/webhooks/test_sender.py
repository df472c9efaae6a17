"""Single tries, against real receivers on loopback: what is sent, and what answers mean."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import logging
import time
from typing import Any

import pytest
import standardwebhooks

from orchestrator.lifecycle.webhook import Verdict
from orchestrator.webhooks import sender
from orchestrator.webhooks.sender import ANSWER_BYTES, Sender
from tests.unit.webhooks.receiving import ID, Post, delivery, in_turn, never, receiving, saying
from tests.unit.webhooks.sending import BODY, LOOPBACK, SECRET, sending


async def test_a_webhook_arrives_signed_and_whole() -> None:
    async with receiving(saying(202, b"thanks")) as receiver, sending() as send:
        sent = await send(receiver.url(path="/hook?token=a%2Fb&x=%7E"))
    (post,) = receiver.posts
    assert post.line == "POST /hook?token=a%2Fb&x=%7E HTTP/1.1"
    assert post.body == BODY
    assert post.headers["content-type"] == "application/json"
    assert post.headers["x-baseten-request-id"] == post.headers["webhook-id"] == ID
    standardwebhooks.Webhook(SECRET).verify(post.body, dict(post.headers))
    assert sent.verdict is Verdict.DELIVERED
    assert sent.alive is True
    assert (sent.line.attempt, sent.line.status, sent.line.answer) == (3, 202, "thanks")
    assert sent.line.error == ""
    assert 0 < sent.line.seconds < 10
    assert abs(sent.line.at - time.time()) < 60


async def test_a_large_webhook_arrives_signed_and_whole() -> None:
    body = json.dumps({"data": "é" * 1_000_000}, ensure_ascii=False).encode()
    async with receiving(saying()) as receiver, sending() as send:
        await send(receiver.url(), body)
    standardwebhooks.Webhook(SECRET).verify(receiver.posts[0].body, dict(receiver.posts[0].headers))


async def test_without_a_key_a_webhook_is_sent_unsigned() -> None:
    async with receiving(saying()) as receiver, sending() as send:
        await send(receiver.url(), secrets=())
    headers = receiver.posts[0].headers
    assert "webhook-id" in headers
    assert "webhook-timestamp" in headers
    assert "webhook-signature" not in headers
    assert "x-baseten-signature" not in headers


@pytest.mark.parametrize(
    ("status", "verdict", "alive"),
    [
        (200, Verdict.DELIVERED, True),
        (204, Verdict.DELIVERED, True),
        (302, Verdict.RETRY, False),
        (400, Verdict.STOP, True),
        (410, Verdict.STOP, True),
        (408, Verdict.RETRY, False),
        (429, Verdict.RETRY, False),
        (503, Verdict.RETRY, False),
    ],
)
async def test_an_answers_status_decides(status: int, verdict: Verdict, alive: bool) -> None:
    async with receiving(saying(status)) as receiver, sending() as send:
        sent = await send(receiver.url())
    assert (sent.verdict, sent.alive, sent.line.status) == (verdict, alive, status)


async def test_a_redirect_is_not_followed() -> None:
    async with (
        receiving(saying()) as inside,
        receiving(saying(307, Location=inside.url())) as receiver,
        sending() as send,
    ):
        sent = await send(receiver.url())
    assert sent.verdict is Verdict.RETRY
    assert sent.line.status == 307
    assert inside.connections == 0


async def test_retry_after_in_seconds() -> None:
    async with receiving(saying(503, Retry_After="120")) as receiver, sending() as send:
        assert (await send(receiver.url())).asked_s == 120.0


async def test_retry_after_as_a_date() -> None:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    async with receiving(saying(429, Retry_After=date)) as receiver, sending() as send:
        asked_s = (await send(receiver.url())).asked_s
    assert asked_s == pytest.approx(3600, abs=60)


async def test_a_receiver_that_does_not_answer_has_failed() -> None:
    async with receiving(never) as receiver, sending(timeout_s=0.2) as send:
        sent = await send(receiver.url())
    assert sent.verdict is Verdict.RETRY
    assert sent.line.status is None
    assert sent.line.error == "no answer within 0.2 s"


async def test_a_status_in_time_is_enough_though_the_body_never_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endless(_post: Post, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nso far")
        await asyncio.Event().wait()

    monkeypatch.setattr(sender, "ANSWER_S", 0.1)
    async with receiving(endless) as receiver, sending() as send:
        sent = await send(receiver.url())
    assert sent.verdict is Verdict.DELIVERED
    assert sent.line.answer == "so far"
    assert sent.line.error == ""
    assert sent.line.seconds < 5


async def test_no_more_than_the_beginning_of_an_answer_is_read() -> None:
    noticed = asyncio.Event()

    async def flood(_post: Post, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            noticed.set()
            raise

    async with receiving(flood) as receiver, sending() as send:
        sent = await send(receiver.url())
        async with asyncio.timeout(20):
            await noticed.wait()
    assert sent.line.answer == "x" * ANSWER_BYTES


async def test_an_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)[:200]
    answer = saying(500, bomb, Content_Encoding="gzip")
    async with receiving(answer) as receiver, sending() as send:
        sent = await send(receiver.url())
    assert "0000" not in sent.line.answer
    assert receiver.posts[0].headers["accept-encoding"] == "identity"


async def test_control_characters_do_not_get_into_the_log() -> None:
    body = "\x1b[2Jé\tok\n\x9b1m\x00".encode() + b"\xff"
    async with receiving(saying(500, body)) as receiver, sending() as send:
        sent = await send(receiver.url())
    assert sent.line.answer == "\ufffd[2Jé\tok\n\ufffd1m\ufffd\ufffd"


async def _hang_up(_post: Post, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _talk_nonsense(_post: Post, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def _reset(_post: Post, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (_hang_up, "the connection ended before an answer came"),
        (_reset, "the connection ended before an answer came"),
        (_talk_nonsense, "the answer is not HTTP"),
        (saying(200, A="b" * 9000), "the answer is not HTTP"),
    ],
)
async def test_what_is_no_answer_has_failed(answer: Any, error: str) -> None:
    async with receiving(answer) as receiver, sending() as send:
        sent = await send(receiver.url())
    assert (sent.verdict, sent.alive, sent.line.status) == (Verdict.RETRY, False, None)
    assert sent.line.error == error


async def test_a_receiver_that_is_not_there_has_failed() -> None:
    async with receiving(saying()) as receiver:
        gone = receiver.url()
    async with sending() as send:
        sent = await send(gone)
    assert sent.line.error == "no connection: Connection refused"
    assert sent.verdict is Verdict.RETRY


async def test_nothing_secret_is_logged_or_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving(in_turn(_hang_up, saying(500))) as receiver, sending() as send:
        told = [
            await send(url)
            for url in (
                receiver.url(path="/path?token=hush"),
                receiver.url(path="/path?token=hush"),
                "https://10.0.0.1/path?token=hush",
                "https://user:hush@example.com/",
            )
        ]
    for text in (caplog.text, repr(told)):
        assert "hush" not in text
        assert SECRET not in text


async def test_a_sender_that_is_closed_leaves_no_connection() -> None:
    async with receiving(never) as receiver:
        made = Sender(LOOPBACK)
        task = asyncio.create_task(made.send(delivery(receiver.url()), BODY, ()))
        await receiver.until(posts=1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.close()
