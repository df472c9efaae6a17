"""`orchestrator requests` without a command: recent requests, by what is asked of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator import cli
from tests.unit.cli.conftest import command

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Serving

ROW: dict[str, Any] = {
    "request_id": "f" * 32,
    "kind": "call",
    "began": 1_790_000_000.0,
    "seconds": 4.41,
    "waited_s": 3.84,
    "status": 200,
    "outcome": "answered",
    "model": "echo",
    "environment": "production",
    "path": "/models/echo/production/predict",
    "key": "team-a",
    "first_byte_s": 4.4,
    "cold_start": True,
    "attempts": 2,
    "kept": "cold_start",
}


def answer(*rows: dict[str, Any], missing: int = 0) -> dict[str, Any]:
    return {"requests": [ROW | row for row in rows], "routers": 2, "missing": missing}


async def test_filters_reach_the_server_under_its_own_names(answering: Serving) -> None:
    asked: dict[str, str] = {}

    async def handler(request: web.Request) -> web.Response:
        asked.update(request.query)
        return web.json_response(answer())

    url = await answering({"/api/v1/requests": handler})
    done = await command(
        "requests", "--slow", "--errors", "--since", "10m", "--environment", "echo/canary",
        "--slower-than", "500ms", "--limit", "7", "--url", url,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {name: value if name != "since" else float(value) for name, value in asked.items()} == {
        "slow": "true",
        "errors": "true",
        "since": 600.0,
        "model": "echo",
        "environment": "canary",
        "slow_ms": "500.0",
        "limit": "7",
    }
    assert "no such requests" in done.stderr


async def test_each_request_has_a_row_with_its_whole_id(answering: Serving) -> None:
    async def handler(_: web.Request) -> web.Response:
        rows: tuple[dict[str, Any], ...] = (
            {},
            {"request_id": "[odd]", "status": 200, "outcome": "failed_replica_lost", "kept": ""},
            {
                "kind": "other",
                "model": "",
                "environment": "",
                "status": 404,
                "outcome": "rejected_not_found",
            },
        )
        return web.json_response(answer(*rows, missing=1))

    done = await command("requests", "--url", await answering({"/api/v1/requests": handler}))
    assert done.exit_code == 0, done.output
    _, first, second, third = done.stdout.splitlines()
    assert "f" * 32 in first
    assert "cold 2 tries" in first
    assert ("[odd]" in second, "cut" in second) == (True, True)
    assert "/models/echo" in third
    assert "1 of 2 routers did not answer" in done.stderr


async def test_json_is_the_whole_answer(answering: Serving) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(answer({}))

    url = await answering({"/api/v1/requests": handler})
    done = await command("requests", "--json", "--url", url)
    assert json.loads(done.stdout) == answer({})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--since", "10x"], "--since '10x' is no duration: say"),
        (["--slower-than", ""], "--slower-than '' is no duration"),
        (["--environment", "a/b/c"], "'a/b/c' is no environment"),
        (["--environment", "a/b", "--model", "c"], "say the model once"),
        (["--errors", "list"], "--errors before `list` has no effect"),
    ],
)
async def test_what_makes_no_sense_is_refused(arguments: list[str], sentence: str) -> None:
    done = await command("requests", *arguments, "--url", "http://127.0.0.1:1")
    if arguments[-1] == "list":
        done = await command("requests", *arguments)
    assert done.exit_code == cli.REFUSED
    assert sentence in done.stderr


async def test_the_help_says_how_kinds_are_joined() -> None:
    done = await command("requests", "--help")
    text = " ".join(done.stdout.split())
    assert "only requests of one of those kinds are shown" in text
    assert "--slow" in text
