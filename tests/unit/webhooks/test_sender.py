"""Single tries, against real receivers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import gzip
import json
import logging
import ssl
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import standardwebhooks
import trustme

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.lifecycle.webhook import Verdict
from orchestrator.webhooks import sender
from orchestrator.webhooks.receivers import NameLookupError, ReceiverPolicy, connector
from orchestrator.webhooks.sender import ANSWER_BYTES, Sender, Sent
from tests.unit.webhooks.receiving import (
    ID,
    Post,
    delivery,
    in_turn,
    never,
    receiving,
    saying,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
BODY = b'{"request_id":"r1"}'
LOOPBACK = ReceiverPolicy(allow_http=True, allowed_networks=["127.0.0.0/8"])
PUBLIC = "93.184.215.14"


@contextlib.asynccontextmanager
async def sending(
    policy: ReceiverPolicy = LOOPBACK, timeout_s: float = 10.0, **settings: Any
) -> AsyncIterator[Callable[..., Any]]:
    made = Sender(policy, timeout_s=timeout_s, **settings)

    async def send(url: str, body: bytes = BODY, secrets: Sequence[str] = (SECRET,)) -> Sent:
        return await made.send(delivery(url, attempt=3), body, secrets)

    try:
        yield send
    finally:
        await made.close()


def _named(
    *answers: Sequence[str] | Exception, allowed: Sequence[str] = ("127.0.0.0/8",)
) -> ReceiverPolicy:
    """A policy for which every name resolves to these, one look after the other."""
    left = list(answers)

    async def look(_host: str, _port: int) -> Sequence[str]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ReceiverPolicy(allow_http=True, allowed_networks=allowed, lookup=look)


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


async def test_nothing_is_carried_from_one_try_to_the_next() -> None:
    answer = saying(200, Set_Cookie="a=b; Path=/", Connection="keep-alive")
    async with receiving(answer) as receiver, sending(_named(["127.0.0.1"])) as send:
        for _ in range(3):
            await send(receiver.url("name.example"))
    assert not any("cookie" in post.headers for post in receiver.posts)
    assert receiver.connections == 3


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(saying()) as proxy, receiving(saying()) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(path=""))
        async with sending() as send:
            await send(receiver.url())
    assert proxy.connections == 0
    assert len(receiver.posts) == 1


async def test_the_connection_goes_to_the_address_that_the_name_resolved_to() -> None:
    async with (
        receiving(saying(), host="127.0.0.2") as receiver,
        sending(_named(["127.0.0.2"])) as send,
    ):
        sent = await send(receiver.url("name.example"))
    assert sent.verdict is Verdict.DELIVERED
    assert receiver.posts[0].headers["host"] == f"name.example:{receiver.port}"


async def test_a_name_that_moves_to_a_private_address_after_submission_is_refused() -> None:
    policy = _named([PUBLIC], ["127.0.0.1"], allowed=[])
    async with receiving(saying()) as receiver, sending(policy) as send:
        url = receiver.url("rebinding.example")
        await policy.admit(url)
        sent = await send(url)
    assert receiver.connections == 0
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error.startswith("rebinding.example resolves to an address that is not public")
    assert "127.0.0.1" not in sent.line.error


async def test_every_try_resolves_anew() -> None:
    policy = _named(["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"])
    async with receiving(saying()) as receiver, sending(policy) as send:
        url = receiver.url("moving.example")
        verdicts = [(await send(url)).verdict for _ in range(3)]
    assert verdicts == [Verdict.DELIVERED, Verdict.RETRY, Verdict.DELIVERED]
    assert receiver.connections == 2


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"]
)
async def test_an_address_that_is_not_allowed_is_not_tried_again(host: str) -> None:
    policy = ReceiverPolicy(allow_http=True)
    async with receiving(saying()) as receiver, sending(policy) as send:
        sent = await send(receiver.url(host))
    assert receiver.connections == 0
    assert sent.verdict is Verdict.STOP
    assert sent.alive is None, "nothing was learnt about it"
    assert sent.line.error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_socket_is_connected_to_what_is_not_allowed(host: str) -> None:
    """The last guard, where nothing has looked at the URL before."""
    tls = ssl.create_default_context()
    async with receiving(saying()) as receiver:
        made = connector(ReceiverPolicy(), tls)
        async with aiohttp.ClientSession(connector=made) as session:
            with pytest.raises((aiohttp.ClientConnectorError, BadRequest), match="not public"):
                await session.get(receiver.url(host))
    assert receiver.connections == 0


async def test_a_name_that_does_not_resolve_has_failed() -> None:
    policy = _named(NameLookupError("the name does not resolve (gone)", definite=True))
    async with sending(policy) as send:
        sent = await send("http://gone.example/")
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error == "the name does not resolve (gone)"


async def test_a_resolver_that_hangs_takes_no_longer_than_a_try() -> None:
    async def hang(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    policy = ReceiverPolicy(allow_http=True, lookup=hang)
    async with sending(policy, timeout_s=0.1) as send, asyncio.timeout(10):
        sent = await send("http://slow.example/")
    assert sent.line.error == "no answer within 0.1 s"


async def test_what_is_looked_up_in_earnest_is_checked_too() -> None:
    policy = ReceiverPolicy(allow_http=True)
    async with receiving(saying()) as receiver, sending(policy) as send:
        sent = await send(receiver.url("localhost"))
    assert receiver.connections == 0
    assert "not public" in sent.line.error


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _server(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def _client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_https_with_a_certificate_for_the_name(authority: trustme.CA) -> None:
    policy = _named(["127.0.0.1"])
    async with (
        receiving(saying(), tls=_server(authority, "hooks.example")) as receiver,
        sending(policy, context=_client(authority)) as send,
    ):
        sent = await send(receiver.url("hooks.example"))
    assert sent.verdict is Verdict.DELIVERED
    assert len(receiver.posts) == 1


async def test_https_with_a_certificate_for_the_address(authority: trustme.CA) -> None:
    async with (
        receiving(saying(), tls=_server(authority, "127.0.0.1")) as receiver,
        sending(context=_client(authority)) as send,
    ):
        assert (await send(receiver.url())).verdict is Verdict.DELIVERED


async def test_https_with_a_certificate_for_another_name(authority: trustme.CA) -> None:
    policy = _named(["127.0.0.1"])
    async with (
        receiving(saying(), tls=_server(authority, "other.example")) as receiver,
        sending(policy, context=_client(authority)) as send,
    ):
        sent = await send(receiver.url("hooks.example"))
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error.startswith("the certificate is not valid: Hostname mismatch")
    assert receiver.posts == []


async def test_https_with_a_certificate_of_an_unknown_authority(authority: trustme.CA) -> None:
    policy = _named(["127.0.0.1"])
    async with (
        receiving(saying(), tls=_server(authority, "hooks.example")) as receiver,
        sending(policy) as send,
    ):
        sent = await send(receiver.url("hooks.example"))
    assert sent.line.error.startswith("the certificate is not valid: ")
    assert receiver.posts == []


async def test_https_where_there_is_only_http() -> None:
    async def answer_anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_anything, "127.0.0.1", 0)
    async with server, sending() as send:
        sent = await send(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error == "the TLS handshake failed"


async def test_an_authority_of_ones_own_is_named_by_the_environment(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        async with (
            receiving(saying(), tls=_server(authority, "127.0.0.1")) as receiver,
            sending() as send,
        ):
            assert (await send(receiver.url())).verdict is Verdict.DELIVERED


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
