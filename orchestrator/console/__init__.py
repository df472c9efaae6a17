"""The operations page: files that the router serves below `/console`, as they are.

There is no data in them, so they are public; what the page shows it asks the API
for, with the key that its user gives. Nothing is built, and nothing is fetched from
anywhere else: the policy below makes browsers refuse it.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PATH: Final = "/console"
"""Where the page is; everything else of it is below."""

_DIRECTIVES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    # No text becomes markup or code: the page makes its elements one by one.
    "require-trusted-types-for": "'script'",
}
POLICY: Final = "; ".join(f"{name} {allowed}" for name, allowed in _DIRECTIVES.items())
"""What browsers let the page do."""

_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_HEADERS: Final = (
    # Asked for again each time, and answered with 304: an upgrade is seen at once.
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

Page = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers without a content length, and body of an answer."""


def paths() -> list[str]:
    """The addresses of the page and of all that it consists of."""
    return [PATH, f"{PATH}/", *(f"{PATH}/{name}" for name in _files())]


def is_page(path: str) -> bool:
    """Whether an address is the page or below it."""
    return path == PATH or path.startswith(f"{PATH}/")


def page(path: str, known: str = "") -> Page | None:
    """The answer to a GET.

    Args:
        path: of the request, `/console` or below.
        known: its `if-none-match`.

    Returns:
        None: there is no such file.
    """
    if path == f"{PATH}/":
        # The page's own links count from `/console`, so that it works below any prefix.
        return 308, [(b"location", b"../console"), (b"cache-control", b"no-cache")], b""
    name = "index.html" if path == PATH else path.removeprefix(f"{PATH}/")
    found = _files().get(name)
    if found is None:
        return None
    tag, kind, body = found
    headers = [*_HEADERS, (b"etag", tag)]
    if tag.decode("ascii") in (each.strip().removeprefix("W/") for each in known.split(",")):
        return 304, headers, b""
    return 200, [*headers, (b"content-type", kind)], body


@functools.cache
def _files() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Tag, type and bytes of every file by its path below `static`; read once."""
    found: dict[str, tuple[bytes, bytes, bytes]] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif (kind := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
                body = entry.read_bytes()
                tag = b'"%s"' % hashlib.sha256(body).hexdigest()[:16].encode("ascii")
                found[f"{prefix}{entry.name}"] = (tag, kind, body)

    walk(resources.files(__name__) / "static", "")
    return found
