"""Who may receive webhooks: URLs as they are submitted, and names as they resolve."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import string
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.webhooks import receivers
from orchestrator.webhooks.receivers import LONGEST_URL, NameLookupError, ReceiverPolicy, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC = "93.184.215.14"
POLICY = ReceiverPolicy()


class Names:
    """A resolver in memory; an exception is raised, an event awaited first."""

    def __init__(self, **known: Sequence[str] | Exception) -> None:
        self.known = {name.replace("_", "."): answer for name, answer in known.items()}
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.known[host]
        if isinstance(answer, Exception):
            raise answer
        return answer


def _refusal(url: str, policy: ReceiverPolicy = POLICY) -> str:
    with pytest.raises(BadRequest) as refused:
        policy.check_url(url)
    assert refused.value.field == "webhook_endpoint"
    return refused.value.rule


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must be an absolute URL"),
        ("example.com/hook", "must be an absolute URL"),
        ("//example.com/hook", "must be an absolute URL"),
        ("https:example.com", "must be an absolute URL"),
        ("http://example.com/", "must begin with https://"),
        ("ftp://example.com/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https+unix://example.com/", "must begin with https://"),
        ("https://", "must name a host"),
        ("https:///hook", "must name a host"),
        ("https://:443/hook", "must name a host"),
        ("https://?x", "must name a host"),
        ("https://user:pass@example.com/", "must not carry credentials"),
        ("https://user@example.com/", "must not carry credentials"),
        ("https://@example.com/", "must not carry credentials"),
        ("https://example.com@169.254.169.254/", "must not carry credentials"),
        ("https://example.com:0/", "the port must be"),
        ("https://example.com:65536/", "the port must be"),
        ("https://example.com:99999999999/", "the port must be"),
        ("https://example.com:/", "the port must be"),
        ("https://example.com:+443/", "the port must be"),
        ("https://example.com:-1/", "the port must be"),
        ("https://example.com:https/", "the port must be"),
        ("https://example.com:443:443/", "the port must be"),
        ("https://example.com/#there", "must not have a fragment"),
        ("https://example.com/#", "must not have a fragment"),
        ("https://example.com#@169.254.169.254/", "must not have a fragment"),
        ("https://exa mple.com/", "must be printable ASCII"),
        ("https://example.com/a\nb", "must be printable ASCII"),
        ("https://example.com/\r\nHost: other", "must be printable ASCII"),
        ("https://example.com/\x00", "must be printable ASCII"),
        ("https://example.com\\@169.254.169.254/", "must be printable ASCII"),
        ("https://\uff11\uff12\uff17.0.0.1/", "must be printable ASCII"),
        ("https://\u24dbocalhost/", "must be printable ASCII"),
        ("https://%31%32%37.0.0.1/", "four decimal numbers"),
        ("https://%6c%6fcalhost/", "must be a valid name"),
        ("https://example.com%00.evil.example/", "must be a valid name"),
        ("https://a..b/", "must be a valid name"),
        ("https://-a.example/", "must be a valid name"),
        ("https://a,b/", "must be a valid name"),
        (f"https://{'a' * 64}.example/", "must be a valid name"),
        (f"https://{'a.' * 127}example/", "must be a valid name"),
        ("https://[::1", "must be a name or an address"),
        ("https://::1/", "must name a host"),
        ("https://[::1]x/", "must be a name or an address"),
        ("https://[example.com]/", "must be an IPv6 address"),
        ("https://[127.0.0.1]/", "must be an IPv6 address"),
        ("https://[fe80::1%25eth0]/", "must not have a zone"),
        ("https://[fe80::1%eth0]/", "must not have a zone"),
        ("https://127.1/", "four decimal numbers"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.0.0.01/", "four decimal numbers"),
        ("https://0x7f000001/", "four decimal numbers"),
        ("https://0x7F.0.0.1/", "four decimal numbers"),
        ("https://0x/", "four decimal numbers"),
        ("https://127.0.0.1./", "four decimal numbers"),
        ("https://1.1.1.256/", "four decimal numbers"),
        ("https://1.1.1.1.1/", "four decimal numbers"),
        ("https://example.1/", "four decimal numbers"),
        ("https://0.0.0.0/", "is not a public address"),
        ("https://127.0.0.1/", "is not a public address"),
        ("https://10.0.0.1:8443/", "is not a public address"),
        ("https://169.254.169.254/latest/meta-data/", "is not a public address"),
        ("https://[::]/", "is not a public address"),
        ("https://[::1]/", "is not a public address"),
        ("https://[::ffff:127.0.0.1]/", "is not a public address"),
        ("https://[::ffff:7f00:1]/", "is not a public address"),
        ("https://[0:0:0:0:0:FFFF:7F00:0001]/", "is not a public address"),
        ("https://[64:ff9b::10.0.0.1]/", "is not a public address"),
        ("https://[2002:7f00:1::]/", "is not a public address"),
        ("https://[fd00:ec2::254]/", "is not a public address"),
        ("https://[fe80::1]/", "is not a public address"),
    ],
)
def test_a_refused_url_is_told_what_is_wrong(url: str, says: str) -> None:
    assert says in _refusal(url)


def test_a_url_may_have_2048_characters() -> None:
    url = "https://example.com/" + "a" * (LONGEST_URL - 20)
    assert POLICY.check_url(url).host == "example.com"
    assert "at most 2048 characters; this one has 2049" in _refusal(url + "a")


@pytest.mark.parametrize(
    ("url", "host", "port", "asked_for"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("HTTPS://Example.COM:8443/a%2Fb?x=a%20b&y=%7E+c", "example.com", 8443,
         "/a%2Fb?x=a%20b&y=%7E+c"),
        ("https://example.com./", "example.com", 443, "/"),
        ("https://xn--mller-kva.example/", "xn--mller-kva.example", 443, "/"),
        ("https://a_b.example/", "a_b.example", 443, "/"),
        ("https://1.example/", "1.example", 443, "/"),
        ("https://1.1.1.1/", "1.1.1.1", 443, "/"),
        ("https://[2606:4700:4700::1111]:444/", "2606:4700:4700::1111", 444, "/"),
        ("https://example.com/a@b?c@d", "example.com", 443, "/a@b?c@d"),
    ],
)  # fmt: skip
def test_an_allowed_url_is_asked_for_as_it_was_given(
    url: str, host: str, port: int, asked_for: str
) -> None:
    receiver = POLICY.check_url(url)
    assert (receiver.host, receiver.port) == (host, port)
    assert receiver.url.raw_path_qs == asked_for


def test_http_only_where_it_is_allowed() -> None:
    policy = ReceiverPolicy(allow_http=True)
    assert policy.check_url("http://example.com/").port == 80
    assert "https:// or http://" in _refusal("ftp://example.com/", policy)


def test_allowed_ranges_open_what_is_not_public_and_nothing_else() -> None:
    policy = ReceiverPolicy(allowed_networks=["127.0.0.0/8", "fd00::/8"])
    for url in (
        "https://127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://1.1.1.1/",
    ):
        policy.check_url(url)
    for url in ("https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/"):
        assert "webhooks.allowed_networks" in _refusal(url, policy)


def test_a_range_that_is_none_is_found_at_once() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        ReceiverPolicy(allowed_networks=["loopback"])


HOSTS = st.one_of(
    st.text(string.printable, max_size=20),
    st.lists(st.sampled_from(["127", "0x7f", "0177", "1", "0", "::", "ffff", "[", "]", ".", "@",
                              "%", ":", "#", "?", "/", "a", "\\"]), max_size=12).map("".join),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)  # fmt: skip


@given(HOSTS, st.text(string.printable, max_size=8))
def test_what_is_allowed_is_read_in_the_same_way_by_all(host: str, rest: str) -> None:
    """No other reading of an accepted URL leads to another host."""
    with contextlib.suppress(BadRequest):
        receiver = POLICY.check_url(f"https://{host}{rest}")
        assert receiver.url.raw_host is not None
        assert receiver.url.raw_user is None
        assert receiver.url.port == receiver.port
        connected_to = receiver.url.raw_host.lower().removesuffix(".")
        if receiver.address is not None:
            assert ip_address(connected_to) == receiver.address
            assert POLICY.permits(receiver.address)
        else:
            assert connected_to == receiver.host
            with pytest.raises(OSError):  # no resolver takes it for an address
                socket.inet_aton(receiver.host)


async def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    names = Names(mixed_example=[PUBLIC, "10.0.0.1"])
    with pytest.raises(BadRequest, match="not public") as refused:
        await ReceiverPolicy(lookup=names).resolve("mixed.example", 443)
    assert "10.0.0.1" not in str(refused.value), "what is inside is not the caller's to learn"


async def test_a_name_of_public_addresses_resolves_to_them_all() -> None:
    names = Names(good_example=[PUBLIC, "2606:4700:4700::1111"])
    found = await ReceiverPolicy(lookup=names).resolve("good.example", 443)
    assert found == [PUBLIC, "2606:4700:4700::1111"]


async def test_a_name_without_addresses_does_not_resolve() -> None:
    with pytest.raises(NameLookupError) as failed:
        await ReceiverPolicy(lookup=Names(empty_example=[])).resolve("empty.example", 443)
    assert failed.value.definite


async def test_localhost_is_refused_as_this_machine_resolves_it() -> None:
    with pytest.raises(BadRequest, match="not public"):
        await ReceiverPolicy().admit("https://localhost/")
    await ReceiverPolicy(allowed_networks=["127.0.0.0/8", "::1/128"]).admit("https://localhost/")


async def test_submissions_look_a_name_up_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(good_example=[PUBLIC])
    policy = ReceiverPolicy(lookup=names)
    for path in "abc":
        await policy.admit(f"https://good.example/{path}")
    assert names.asked == ["good.example"]
    monkeypatch.setattr(receivers, "ADMITTED_S", 0.0)
    policy = ReceiverPolicy(lookup=names)
    for path in "abc":
        await policy.admit(f"https://good.example/{path}")
    assert len(names.asked) == 1 + 3


async def test_a_refusal_is_not_kept() -> None:
    names = Names(moving_example=["10.0.0.1"])
    policy = ReceiverPolicy(lookup=names)
    for _ in range(2):
        with pytest.raises(BadRequest, match="not public"):
            await policy.admit("https://moving.example/")
    names.known["moving.example"] = [PUBLIC]
    await policy.admit("https://moving.example/")


async def test_many_submissions_at_a_time_share_one_look() -> None:
    names = Names(good_example=[PUBLIC])
    names.gate = asyncio.Event()
    policy = ReceiverPolicy(lookup=names)
    asking = [asyncio.create_task(policy.admit("https://good.example/")) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    names.gate.set()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1:] == [None] * 49
    assert names.asked == ["good.example"]


async def test_addresses_in_urls_need_no_look() -> None:
    names = Names()
    await ReceiverPolicy(lookup=names).admit(f"https://{PUBLIC}/")
    assert names.asked == []


async def test_a_name_that_does_not_exist_is_refused_at_submission() -> None:
    names = Names(typo_example=NameLookupError("no such name", definite=True))
    with pytest.raises(BadRequest, match=r"there is no host typo\.example"):
        await ReceiverPolicy(lookup=names).admit("https://typo.example/")


async def test_submissions_go_on_while_names_cannot_be_looked_up() -> None:
    names = Names(good_example=NameLookupError("try again", definite=False))
    policy = ReceiverPolicy(lookup=names)
    for _ in range(5):
        await policy.admit("https://good.example/")
    assert names.asked == ["good.example"], "and are not slowed down by it either"


async def test_submissions_do_not_wait_for_a_resolver_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receivers, "ADMIT_S", 0.01)
    names = Names()
    names.gate = asyncio.Event()
    async with asyncio.timeout(10):
        await ReceiverPolicy(lookup=names).admit("https://slow.example/")


async def test_names_that_are_kept_in_mind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "ADMITTED_NAMES", 3)
    names = Names(**{f"n{number}_example": [PUBLIC] for number in range(4)})
    policy = ReceiverPolicy(lookup=names)
    for number in (0, 1, 2, 3, 3, 0):
        await policy.admit(f"https://n{number}.example/")
    assert names.asked == ["n0.example", "n1.example", "n2.example", "n3.example", "n0.example"]


@pytest.mark.parametrize(
    ("failure", "definite"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), False),
        (UnicodeError("label too long"), True),
    ],
)
async def test_what_a_failed_lookup_tells(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, definite: bool
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NameLookupError) as failed:
        await look_up("name.example", 443)
    assert failed.value.definite is definite
