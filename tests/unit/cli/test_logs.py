"""`orchestrator logs`: lines as they come, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator import cli
from tests.unit.cli.conftest import command

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Serving

PATH = "/api/v1/models/{model}/environments/{environment}/logs"


def line(number: int, **fields: Any) -> dict[str, Any]:
    given = {
        "at": 1_790_000_000.0 + number,
        "replica": "abc",
        "stream": "stdout",
        "level": "INFO",
        "text": f"line {number}",
        "request_id": "",
        "trace_id": "",
    }
    return given | fields


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in lines)


async def test_lines_are_shown_with_time_and_replica(answering: Serving) -> None:
    asked: dict[str, str] = {}

    async def handler(request: web.Request) -> web.Response:
        asked.update({**request.query, **request.match_info})
        return web.Response(body=ndjson(line(1), line(2, level="ERROR", text="no [room] ü")))

    url = await answering({PATH: handler})
    done = await command("logs", "echo/canary", "--request", "r-1", "-n", "5", "--url", url)
    assert done.exit_code == 0, done.output
    first, second = done.stdout.splitlines()
    assert first.endswith("abc line 1")
    assert second.endswith("abc no [room] ü")
    assert asked == {"model": "echo", "environment": "canary", "request": "r-1", "lines": "5"}


async def test_a_model_alone_is_its_production(answering: Serving) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=ndjson(line(1, text=request.match_info["environment"])))

    done = await command("logs", "echo", "--json", "--url", await answering({PATH: handler}))
    assert json.loads(done.stdout)["text"] == "production"


async def test_a_line_that_comes_in_parts_is_one_line(answering: Serving) -> None:
    whole = ndjson(line(1, text="x" * 100_000), line(2))

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for begin in range(0, len(whole), 7_000):
            await response.write(whole[begin : begin + 7_000])
        return response

    done = await command("logs", "echo", "--json", "--url", await answering({PATH: handler}))
    assert [len(json.loads(text)["text"]) for text in done.stdout.splitlines()] == [100_000, 6]


async def test_nothing_logged_is_said(answering: Serving) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    done = await command("logs", "echo", "--url", await answering({PATH: handler}))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "have logged no such thing" in done.stderr


@pytest.mark.parametrize("name", ["", "a/", "/b", "a/b/c"])
async def test_what_is_no_environment_is_refused(name: str) -> None:
    done = await command("logs", name, "--url", "http://127.0.0.1:1")
    assert done.exit_code == cli.REFUSED
    assert "is no environment" in done.stderr


async def test_following_ends_cleanly_with_ctrl_c(answering: Serving) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(ndjson(line(1)))
        await asyncio.Event().wait()
        return response

    url = await answering({PATH: handler})
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", "logs", "echo", "--follow", "--url", url,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    assert program.stdout is not None
    assert b"line 1" in await program.stdout.readline()
    program.send_signal(signal.SIGINT)
    _, errors = await program.communicate()
    assert (program.returncode, errors) == (0, b"")
