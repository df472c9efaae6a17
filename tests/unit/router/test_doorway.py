"""The layer in front of Serve's own: one id, no second watch, no second clock."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.router import doorway
from orchestrator.router.doorway import IMPORT_PATH, Doorway


async def _through(
    headers: list[tuple[bytes, bytes]], *, inside: bool = True
) -> dict[bytes, bytes]:
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    scope = {"type": "http", "headers": headers}
    await Doorway(app, watched_inside=inside)(scope, None, None)  # type: ignore[arg-type]
    names = [name for name, _ in seen]
    assert len(names) == len(set(names))
    return dict(seen)


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        ([(b"x-request-id", b"a"), (b"x-baseten-request-id", b"b")], b"a"),
        ([(b"x-baseten-request-id", b"b")], b"b"),
        ([(b"x-request-id", b"not sane"), (b"x-baseten-request-id", b"b")], b"b"),
    ],
)
async def test_serve_is_given_the_id_that_the_router_goes_by(
    headers: list[tuple[bytes, bytes]], identity: bytes
) -> None:
    assert (await _through(headers))[b"x-request-id"] == identity


async def test_a_request_without_an_id_gets_one() -> None:
    assert len((await _through([]))[b"x-request-id"]) == 32


async def test_callers_do_not_set_serves_own_controls() -> None:
    given = [(b"x-request-timeout-seconds", b"1"), (b"x-request-disconnect-disabled", b"?0")]
    seen = await _through([*given, (b"accept", b"*/*")])
    assert seen[b"accept"] == b"*/*"
    assert b"x-request-timeout-seconds" not in seen
    assert seen[b"x-request-disconnect-disabled"] == b"?1"
    assert b"x-request-disconnect-disabled" not in await _through(given, inside=False)


async def test_what_is_no_request_passes_untouched() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await Doorway(app, watched_inside=True)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert scopes == [{"type": "lifespan"}]


def test_outside_a_replica_callers_are_watched_by_serve() -> None:
    module, _, name = IMPORT_PATH.partition(":")
    assert module == doorway.__name__
    (layer,) = getattr(doorway, name)()
    assert layer.kwargs == {"watched_inside": False}
