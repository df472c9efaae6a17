"""Who may receive webhooks, and connections that go to nobody else.

A receiver is looked at three times: its URL when a request is submitted and at
every delivery (`check_url`); the addresses of its name at submission (`admit`)
and anew at every delivery (`resolve`), all of which must be public; and, last,
the very address that a socket is about to be connected to (`connector`). So a
name that changes its mind between two looks gains nothing by it.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

import aiohttp
import aiohttp.abc
from yarl import URL

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.webhooks.addresses import embedded, is_public

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from orchestrator.webhooks.addresses import Address

    Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
    """A name's addresses, as text; raises `NameLookupError`."""

FIELD: Final = "webhook_endpoint"
LONGEST_URL: Final = 2048

ADMIT_S: Final = 2.0
"""How long a submission waits for a name to resolve."""

ADMITTED_S: Final = 30.0
"""How long a name that resolved to public addresses needs no look at submission."""

UNKNOWN_S: Final = 5.0
"""The same for a name that could not be looked up: submissions stay fast when DNS is down."""

ADMITTED_NAMES: Final = 4096
"""How many names are kept in mind for that."""

_PRINTABLE: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]*")  # no backslash, no space
_URL: Final = re.compile(r"(?P<scheme>[^:/?#]+)://(?P<authority>[^/?#]*)(?P<rest>.*)")
_AUTHORITY: Final = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>.*))?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PORTS: Final = {"https": 443, "http": 80}

_LOOKUPS: Final = ThreadPoolExecutor(16, thread_name_prefix="lookup")
"""Threads of our own: names of receivers that do not resolve must not hold up anything else."""


class NameLookupError(OSError):
    """A name did not resolve.

    Attributes:
        definite: whether the name does not exist, rather than that nobody could say.
    """

    def __init__(self, sentence: str, *, definite: bool) -> None:
        super().__init__(sentence)
        self.definite = definite


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine resolves it.

    Raises:
        NameLookupError: it has none, or nobody could say.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_LOOKUPS, _addresses, host, port)
    except socket.gaierror as error:
        definite = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        raise NameLookupError(
            f"the name does not resolve ({error.strerror})", definite=definite
        ) from error
    except UnicodeError as error:
        raise NameLookupError("the name cannot be resolved", definite=True) from error
    return list(dict.fromkeys(found))


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class Receiver:
    """A URL that was checked.

    Attributes:
        url: the URL, as it was given.
        host: its host in lower case: a name without a final dot, or an address.
        port: its port.
        address: the host, where that is an address.
    """

    url: URL
    host: str
    port: int
    address: Address | None


class ReceiverPolicy:
    """Which receivers may be used. Of one event loop.

    Args:
        allow_http: http:// URLs may be used too.
        allowed_networks: ranges that may be used although they are not public.
        lookup: how names are resolved.

    Raises:
        ValueError: a range is not one.
    """

    def __init__(
        self,
        *,
        allow_http: bool = False,
        allowed_networks: Sequence[str] = (),
        lookup: Lookup = look_up,
    ) -> None:
        self._allow_http = allow_http
        self._allowed = tuple(ip_network(network) for network in allowed_networks)
        self._lookup = lookup
        self._admitted: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[None]] = {}

    def permits(self, address: Address) -> bool:
        """Whether a connection to this address may be made."""
        if any(address in network for network in self._allowed):
            return True
        inner = embedded(address)
        return self.permits(inner) if inner is not None else is_public(address)

    def check_url(self, url: str) -> Receiver:
        """The receiver that a URL names; nothing is asked of anybody.

        Raises:
            BadRequest: such a receiver is not allowed; says why.
        """
        scheme, authority = self._parts(url)
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            raise BadRequest(FIELD, "the host must be a name or an address; IPv6 in brackets")
        port = _PORTS[scheme]
        if match["port"] is not None:
            port = int(match["port"]) if _PORT.fullmatch(match["port"]) else 0
        if not 0 < port < 1 << 16:
            raise BadRequest(FIELD, "the port must be a number from 1 to 65535")
        if match["ipv6"] is not None:
            address: Address | None = _ipv6(match["ipv6"])
            host = str(address)
        else:
            host, address = _name_or_ipv4(match["name"])
        if address is not None and not self.permits(address):
            raise self._refusal(f"{address} is not a public address")
        return Receiver(URL(url, encoded=True), host, port, address)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a name, all of which may be connected to.

        Raises:
            BadRequest: one of them may not.
            NameLookupError: the name did not resolve.
        """
        found = list(await self._lookup(host, port))
        if not found:
            raise NameLookupError("the name has no addresses", definite=True)
        if not all(self.permits(ip_address(address)) for address in found):
            # Without the address: what is in a private network is not the caller's to learn.
            raise self._refusal(f"{host} resolves to an address that is not public")
        return found

    async def admit(self, url: str) -> None:
        """Checks a receiver as far as it can be done when a request is submitted.

        A name that could not be looked up in `ADMIT_S` is let through: the delivery looks
        again. That it does not exist is said at once.

        Raises:
            BadRequest: such a receiver is not allowed; says why.
        """
        receiver = self.check_url(url)
        host = receiver.host
        now = asyncio.get_running_loop().time()
        if receiver.address is not None or self._admitted.get(host, 0.0) > now:
            return
        # One look for all that ask at the same time; who goes away does not end it for others.
        task = self._asking.get(host)
        if task is None:
            task = asyncio.create_task(self._look_at(host, receiver.port), name=host)
            self._asking[host] = task
            task.add_done_callback(self._looked_at)
        await asyncio.shield(task)

    async def _look_at(self, host: str, port: int) -> None:
        good_s = ADMITTED_S
        try:
            async with asyncio.timeout(ADMIT_S):
                await self.resolve(host, port)
        except NameLookupError as error:
            if error.definite:
                raise BadRequest(FIELD, f"there is no host {host}") from error
            good_s = UNKNOWN_S
        except TimeoutError:
            good_s = UNKNOWN_S
        self._admitted[host] = asyncio.get_running_loop().time() + good_s
        self._admitted.move_to_end(host)
        if len(self._admitted) > ADMITTED_NAMES:
            self._admitted.popitem(last=False)

    def _looked_at(self, task: asyncio.Task[None]) -> None:
        del self._asking[task.get_name()]
        if not task.cancelled():
            task.exception()  # so that nobody is told that nobody looked at it

    def _parts(self, url: str) -> tuple[str, str]:
        """Scheme and authority of a URL that has nothing wrong besides."""
        if len(url) > LONGEST_URL:
            rule = f"must have at most {LONGEST_URL} characters; this one has {len(url)}"
            raise BadRequest(FIELD, rule)
        if not _PRINTABLE.fullmatch(url):
            raise BadRequest(
                FIELD,
                "must be printable ASCII without spaces and backslashes; write other characters"
                " percent-encoded, and names in punycode",
            )
        match = _URL.fullmatch(url)
        if match is None:
            raise BadRequest(FIELD, "must be an absolute URL, such as https://example.com/hook")
        scheme = match["scheme"].lower()
        if scheme != "https" and not (scheme == "http" and self._allow_http):
            besides = " or http://" if self._allow_http else ""
            raise BadRequest(FIELD, f"must begin with https://{besides}")
        if "@" in match["authority"]:
            raise BadRequest(FIELD, "must not carry credentials; nothing may stand before an @")
        if "#" in match["rest"]:
            raise BadRequest(FIELD, "must not have a fragment (#)")
        if match["authority"].partition(":")[0] == "":
            raise BadRequest(FIELD, "must name a host")
        return scheme, match["authority"]

    @staticmethod
    def _refusal(fact: str) -> BadRequest:
        return BadRequest(
            FIELD, f"{fact}; others are reached only where webhooks.allowed_networks names them"
        )


def _ipv6(text: str) -> Address:
    if "%" in text:
        raise BadRequest(FIELD, "an address must not have a zone (%)")
    try:
        return IPv6Address(text)
    except ValueError:
        raise BadRequest(FIELD, "what stands in brackets must be an IPv6 address") from None


def _name_or_ipv4(text: str) -> tuple[str, Address | None]:
    host = text.lower()
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # No name ends in a number; resolvers take such a host for an IPv4 address, and know
        # more spellings of it than can be told apart: 127.1, 0177.0.0.1, 0x7f000001.
        try:
            return host, ip_address(host)
        except ValueError:
            rule = "an IPv4 address must be four decimal numbers without leading zeros"
            raise BadRequest(FIELD, rule) from None
    host = host.removesuffix(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadRequest(FIELD, "the host must be a valid name")
    return host, None


class _Checked(aiohttp.abc.AbstractResolver):
    """A resolver for aiohttp that gives only addresses that may be connected to."""

    def __init__(self, policy: ReceiverPolicy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        """Of aiohttp; see `ReceiverPolicy.resolve`."""
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._policy.resolve(host, port)
            if family in (socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    async def close(self) -> None:
        """Of aiohttp; there is nothing to close."""


def connector(policy: ReceiverPolicy, context: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Makes connections for webhooks: each resolves anew, and goes where the policy permits.

    No connection serves twice. A kept one would save a handshake, and would now and
    then be closed by the receiver just as a webhook is written to it, which then
    counts as a failed try although nothing is wrong.
    """

    def make_socket(info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        # Every connection passes here, also those to literal addresses, for which aiohttp
        # asks no resolver.
        if not policy.permits(ip_address(str(sockaddr[0]))):
            raise PermissionError(errno.EACCES, "the address is not public")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=_Checked(policy),
        use_dns_cache=False,
        force_close=True,
        limit=0,  # bounded by who sends, see `webhooks.traffic`
        ssl=context,
        socket_factory=make_socket,
    )
