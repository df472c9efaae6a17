"""A receiver to try webhooks with: it verifies what comes, and can fail on purpose."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from rich.console import Group
from rich.json import JSON
from rich.text import Text

from orchestrator.webhooks.signatures import (
    BASETEN_ID_HEADER,
    ID_HEADER,
    verify_baseten,
    verify_standard,
)
from orchestrator.webhooks.text import harmless

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rich.console import Console

FAILING_STATUS: Final = 503
UNAUTHORIZED: Final = 401
IDS: Final = 10_000
"""How many webhooks are remembered."""

BODY_BYTES: Final = 256 << 20
SHOWN_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Received:
    """A webhook that came.

    Attributes:
        request_id: the request's id; empty: it had none.
        body: as it came.
        standard: whether `webhook-signature` fits; None: there is none, or no secret is known.
        baseten: the same of `X-BASETEN-SIGNATURE`.
        times: how often it has come, this time included.
        again: whether it was accepted before: it is to be ignored.
        status: what it is answered.
    """

    request_id: str
    body: bytes
    standard: bool | None
    baseten: bool | None
    times: int
    again: bool
    status: int

    @property
    def verified(self) -> bool:
        """Whether both signatures are there and fit."""
        return self.standard is True and self.baseten is True


class _Receiver:
    def __init__(
        self,
        secrets: Sequence[str],
        fail: int,
        status: int,
        on_delivery: Callable[[Received], object],
    ) -> None:
        self._secrets = tuple(secrets)
        self._fail = fail
        self._status = status
        self._on_delivery = on_delivery
        self._seen: OrderedDict[str, tuple[int, bool]] = OrderedDict()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        given = request.headers
        request_id = given.get(ID_HEADER) or given.get(BASETEN_ID_HEADER) or ""
        standard = verify_standard(self._secrets, given, body) if self._secrets else None
        baseten = verify_baseten(self._secrets, given, body) if self._secrets else None
        times, accepted = self._seen.get(request_id, (0, False))
        if self._secrets and not (standard and baseten):
            status = UNAUTHORIZED
        else:
            status = self._status if times < self._fail else 200
        self._seen[request_id] = (times + 1, accepted or status == 200)
        self._seen.move_to_end(request_id)
        if len(self._seen) > IDS:
            self._seen.popitem(last=False)
        received = Received(request_id, body, standard, baseten, times + 1, accepted, status)
        self._on_delivery(received)
        return web.json_response({"received": status == 200, "again": accepted}, status=status)


@contextlib.asynccontextmanager
async def listening(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    secrets: Sequence[str] = (),
    fail: int = 0,
    status: int = FAILING_STATUS,
    on_delivery: Callable[[Received], object],
) -> AsyncIterator[str]:
    """A receiver for as long as the context lasts; gives its URL. Takes a POST to any path.

    Args:
        host: to listen on.
        port: to listen on; 0: any that is free.
        secrets: to verify with; what is not signed with one of them is answered 401.
            Without any, nothing is verified and all is taken.
        fail: how often each webhook is answered with `status` before it is accepted.
        status: what a failing answer says.
        on_delivery: called with each that comes, before it is answered.

    Raises:
        OSError: the port is taken.
    """
    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_post("/{path:.*}", _Receiver(secrets, fail, status, on_delivery).take)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def listen(
    host: str,
    port: int,
    *,
    secrets: Sequence[str] = (),
    fail: int = 0,
    status: int = FAILING_STATUS,
    on_delivery: Callable[[Received], object],
    on_ready: Callable[[str], object] = str,
) -> None:
    """Receives webhooks until it is cancelled; see `listening`.

    `on_ready` is called with the URL once it can be used.
    """
    async with listening(
        host, port, secrets=secrets, fail=fail, status=status, on_delivery=on_delivery
    ) as url:
        on_ready(url)
        await asyncio.Event().wait()


def printer(console: Console) -> Callable[[Received], None]:
    """An `on_delivery` that prints what comes."""

    def show(received: Received) -> None:
        head = Text.assemble(
            (harmless(received.request_id) or "(no id)", "bold"),
            "  ",
            _verification(received),
            "  ",
            (f"answered {received.status}", "green" if received.status == 200 else "red"),
        )
        if received.again:
            head.append(f"  again, time {received.times}: already taken", "yellow")
        elif received.times > 1:
            head.append(f"  time {received.times}", "yellow")
        console.print(Group(head, _body(received.body)) if not received.again else head)

    return show


def _verification(received: Received) -> tuple[str, str]:
    if received.verified:
        return "signatures fit", "green"
    if received.standard is None and received.baseten is None:
        return "not verified", "yellow"
    words = {True: "fits", False: "does not fit", None: "is missing"}
    standard, baseten = words[received.standard], words[received.baseten]
    return f"webhook-signature {standard}, X-BASETEN-SIGNATURE {baseten}", "red"


def _body(body: bytes) -> Text:
    text = body.decode(errors="replace")
    if len(text) > SHOWN_CHARACTERS:
        return Text(harmless(text[:SHOWN_CHARACTERS]) + "…")
    with contextlib.suppress(ValueError, RecursionError):
        shown = JSON(text).text
        if shown.plain == harmless(shown.plain):
            return shown
    return Text(harmless(text))
