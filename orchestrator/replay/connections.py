"""The connections to the cluster: as many as are needed, kept alive, without cookies."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_S: Final = 10.0

MOST_UNDER_WAY: Final = 10_000
"""Requests under way at once, at most."""

_OTHER_FILES: Final = 200
"""Files that the process may have open besides."""


def most_under_way() -> int:
    """Requests that may be under way at once: each has a connection, which is an open file.

    Raises the process's limit of open files as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_UNDER_WAY + _OTHER_FILES
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    return MOST_UNDER_WAY if soft == resource.RLIM_INFINITY else min(soft, wanted) - _OTHER_FILES


def open_session(url: str, key: str | None) -> aiohttp.ClientSession:
    """A session with a cluster; its paths begin with `/`.

    Args:
        url: where the cluster listens.
        key: `prefix.secret`; None: it asks for none.
    """
    headers: Mapping[str, str] = {"authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(
        url.rstrip("/") + "/",
        headers={**headers, "content-type": "application/json"},
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The cluster bounds requests by its own time-outs; connecting is ours to bound.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
    )
