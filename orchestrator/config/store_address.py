"""Where the store is: what `store:` may say, and saying it again without a password.

    embedded                                    a private server of a local cluster
    redis://host:6379/0, rediss://…             Redis or Valkey, without and with TLS
    unix:///path/to/socket                      the same on this machine
    redis+sentinel://h1:26379,h2:26379/name/0   the master that Sentinels know as `name`
    rediss+sentinel://…                         the same with TLS
    ${NAME}                                     any of these addresses, out of the environment

An address goes to routers and dispatchers as it stands here, so one with a
password has to be a reference: it is resolved in the process that connects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EMBEDDED: Final = "embedded"
EMBEDDED_VARIABLE: Final = "ORCHESTRATOR_STORE_URL"
"""Holds the address of the embedded server, in every process of a local cluster."""

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SENTINELS: Final = ("redis+sentinel", "rediss+sentinel")
_SCHEMES: Final = ("redis", "rediss", "unix", *_SENTINELS)
_EXAMPLES: Final = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/to/socket or "
    "redis+sentinel://host1:26379,host2:26379/master/0"
)
_REFERENCE_RULE: Final = (
    "must be ${NAME}, the name of an environment variable that holds the address, where the "
    "address has a password, so that the password is not in the file"
)


def store_address(value: str) -> str:
    """`value`, if it can stand under `store:`.

    Raises:
        ValueError: it cannot; the message is a rule and does not contain the value.
    """
    if value == EMBEDDED or _REFERENCE.fullmatch(value):
        return value
    if has_password(value):
        raise ValueError(_REFERENCE_RULE)
    problem = wrong_with(value)
    if problem is not None:
        raise ValueError(f'must be "{EMBEDDED}", ${{NAME}} or an address: {problem}')
    return value


def gcs_address(value: str) -> str:
    """`value`, if it can stand under `cluster.gcs_store`.

    Raises:
        ValueError: it cannot; the message is a rule and does not contain the value.
    """
    if _REFERENCE.fullmatch(value):
        return value
    if has_password(value):
        raise ValueError(_REFERENCE_RULE)
    problem = wrong_with_gcs(value)
    if problem is not None:
        raise ValueError(f"must be ${{NAME}} or an address: {problem}")
    return value


def wrong_with_gcs(address: str) -> str | None:
    """What would be right instead of the address of Ray's own store; None: it is right."""
    examples = "redis://host:6379 or rediss://host:6379"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return f"it is no URL; right are {examples}"
    if parts.scheme not in ("redis", "rediss"):
        return f"it must begin with redis:// or rediss://: {examples}"
    if not parts.hostname or not port or "," in parts.netloc:
        return f"it must name one host and its port: {examples}"
    if parts.path or parts.query or parts.fragment:
        return f"it must end with the port, as Ray uses no other database than 0: {examples}"
    return None


def variable_of(store: str) -> str | None:
    """The environment variable that a reference names; None: it is no reference."""
    found = _REFERENCE.fullmatch(store)
    return found[1] if found else None


def handed_on(store: str) -> str:
    """What routers and dispatchers are told: the address without a password, or a reference."""
    return f"${{{EMBEDDED_VARIABLE}}}" if store == EMBEDDED else store


def resolved(store: str, env: Mapping[str, str]) -> str:
    """The address itself; of an embedded store, the one that its cluster gives it.

    Raises:
        KeyError: the variable that holds it is not set.
    """
    name = variable_of(handed_on(store))
    return store if name is None else env[name]


def has_password(address: str) -> bool:
    """Whether a secret would be told by telling the address."""
    userinfo, at, rest = address.partition("://")[2].rpartition("@")
    return (bool(at) and ":" in userinfo) or "password=" in rest.partition("?")[2]


def without_password(address: str) -> str:
    """The address as it may be shown and logged."""
    scheme, colon, rest = address.partition("://")
    userinfo, at, place = rest.rpartition("@")
    user = userinfo.partition(":")[0]
    return f"{scheme}{colon}{user}{at if user else ''}{place.partition('?')[0]}"


def wrong_with(address: str) -> str | None:
    """What would be right instead of the address, which is not shown; None: it is right."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return f"it is no URL; right are {_EXAMPLES}"
    if parts.scheme not in _SCHEMES:
        return f"it must begin with one of {', '.join(f'{s}://' for s in _SCHEMES)}: {_EXAMPLES}"
    if parts.scheme == "unix":
        whole = parts.netloc.rpartition("@")[2] == "" and len(parts.path) > 1
        return None if whole else "it must name a socket by its whole path: unix:///path/to/socket"
    return next(_wrong_parts(parts), None)


def _wrong_parts(parts: SplitResult) -> Iterator[str]:
    places = parts.netloc.rpartition("@")[2].split(",")
    if len(places) > 1 and parts.scheme not in _SENTINELS:
        yield f"it must have one host; several are for Sentinel: {_EXAMPLES}"
    for place in places:
        host, port = _host_and_port(place)
        if not host:
            yield f"it must name a host: {_EXAMPLES}"
        if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
            yield "its port must be a number from 1 to 65535"
    path = parts.path.strip("/").split("/")
    if parts.scheme in _SENTINELS and not path.pop(0):
        yield f"it must name the master that Sentinel watches: {parts.scheme}://host/master/0"
    if len(path) > 1 or not all(part.isdecimal() or not part for part in path):
        yield "its path must end in the number of the database"


def _host_and_port(place: str) -> tuple[str, str | None]:
    """`host:port` or `[v6]:port`, either without the port."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    host, colon, port = place.partition(":")
    return host, port if colon else None
