"""`orchestrator top`: the table, and the live view in a terminal of its own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator.cli.glance import spark
from tests.unit.cli.conftest import command

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Serving


def a_row(model: str, **fields: Any) -> dict[str, Any]:
    given = {
        "model": model,
        "environment": "production",
        "version": 1,
        "status": "ACTIVE",
        "reason": None,
        "waiting": 0,
        "oldest_wait_s": 0.0,
        "in_flight": 0,
        "slots": 4,
        "desired": 1,
        "replicas": {"READY": 1},
        "requests_per_s": 0.0,
        "error_rate": 0.0,
        "p95_s": None,
        "decision": {"at": 1.0, "desired": 1, "reason": "min_replica is 1"},
        "spark": {"requests": [0, 1, 2, 4], "waiting": [], "p95": []},
    }
    return given | fields


def an_overview(*rows: dict[str, Any], gone: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"version": 1, "now": 1.0, "environments": list(rows), "gone": list(gone)}


async def test_without_a_terminal_it_shows_once_the_busiest_first(answering: Serving) -> None:
    async def handler(_: web.Request) -> web.Response:
        busy = {"in_flight": 3, "waiting": 9, "oldest_wait_s": 2.5, "p95_s": 0.12}
        rows = a_row("idle"), a_row("busy", **busy, requests_per_s=12.34, error_rate=0.05)
        return web.json_response(an_overview(*rows))

    url = await answering({"/api/v1/overview": handler})
    done = await command("top", "--url", url)
    assert done.exit_code == 0, done.output
    _, first, second = done.stdout.splitlines()
    assert first.split()[:10] == [
        "busy/production", "active", "1/1", "3/4", "9", "2.50", "s", "12.3", "120", "ms",
    ]  # fmt: skip
    assert "5 %" in first
    assert "min_replica is 1" in second
    whole = await command("top", "--json", "--url", url)
    assert len(json.loads(whole.stdout)["environments"]) == 2


def test_a_sparkline_is_as_high_as_its_highest_value() -> None:
    assert spark([0, 1, None, 8]) == " ▂ █"
    assert spark([0, 0]) == "  "
    assert spark(()) == ""


@pytest.mark.parametrize("keys", [b"q", b"\x03"])
async def test_in_a_terminal_it_follows_what_changes_until_a_key_ends_it(
    answering: Serving, keys: bytes
) -> None:
    changed = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        first = an_overview(a_row("first"), a_row("second"))
        await response.write(
            b": \n\nevent: overview\ndata: " + json.dumps(first).encode() + b"\n\n"
        )
        await changed.wait()
        then = an_overview(a_row("third", status="UNHEALTHY"), gone=("second/production",))
        await response.write(b"event: overview\ndata: " + json.dumps(then).encode() + b"\n\n")
        await asyncio.Event().wait()
        return response

    url = await answering({"/api/v1/events": handler})
    process, terminal = pty.fork()
    if not process:
        os.environ.update(TERM="xterm", COLUMNS="100", LINES="20")
        os.execv(sys.executable, [sys.executable, "-m", "orchestrator.cli", "top", "--url", url])
    screen = bytearray()
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def read() -> None:
        try:
            screen.extend(os.read(terminal, 65536))
        except OSError:  # the program has ended
            loop.remove_reader(terminal)
            screen.extend(b"\nEND")
        news.set()

    async def seen(text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in screen:
                news.clear()
                await news.wait()

    loop.add_reader(terminal, read)
    await seen(b"second/production")
    screen.clear()
    changed.set()
    await seen(b"third/production")
    assert b"second/production" not in screen
    assert b"(1 unhealthy)" in screen
    os.write(terminal, keys)
    await seen(b"\nEND")
    _, status = await asyncio.to_thread(os.waitpid, process, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"Traceback" not in screen
