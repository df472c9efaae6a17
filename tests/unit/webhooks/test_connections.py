"""Where tries connect to, and where they do not."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.lifecycle.webhook import Verdict
from orchestrator.webhooks.receivers import NameLookupError, ReceiverPolicy, connector
from tests.unit.webhooks.receiving import receiving, saying
from tests.unit.webhooks.sending import PUBLIC, named, sending

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_nothing_is_carried_from_one_try_to_the_next() -> None:
    answer = saying(200, Set_Cookie="a=b; Path=/", Connection="keep-alive")
    async with receiving(answer) as receiver, sending(named(["127.0.0.1"])) as send:
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
        sending(named(["127.0.0.2"])) as send,
    ):
        sent = await send(receiver.url("name.example"))
    assert sent.verdict is Verdict.DELIVERED
    assert receiver.posts[0].headers["host"] == f"name.example:{receiver.port}"


async def test_a_name_that_moves_to_a_private_address_after_submission_is_refused() -> None:
    policy = named([PUBLIC], ["127.0.0.1"], allowed=[])
    async with receiving(saying()) as receiver, sending(policy) as send:
        url = receiver.url("rebinding.example")
        await policy.admit(url)
        sent = await send(url)
    assert receiver.connections == 0
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error.startswith("rebinding.example resolves to an address that is not public")
    assert "127.0.0.1" not in sent.line.error


async def test_every_try_resolves_anew() -> None:
    policy = named(["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"])
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
    policy = named(NameLookupError("the name does not resolve (gone)", definite=True))
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
    policy = named(["127.0.0.1"])
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
    policy = named(["127.0.0.1"])
    async with (
        receiving(saying(), tls=_server(authority, "other.example")) as receiver,
        sending(policy, context=_client(authority)) as send,
    ):
        sent = await send(receiver.url("hooks.example"))
    assert sent.verdict is Verdict.RETRY
    assert sent.line.error.startswith("the certificate is not valid: Hostname mismatch")
    assert receiver.posts == []


async def test_https_with_a_certificate_of_an_unknown_authority(authority: trustme.CA) -> None:
    policy = named(["127.0.0.1"])
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
