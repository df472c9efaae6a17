"""`orchestrator trace`: what it draws, and what it says of ids that mean nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator import cli
from orchestrator.cli.waterfall import drawn
from orchestrator.telemetry.timeline import Attempt, Timeline, Wait
from orchestrator.telemetry.waterfall import AsyncFacts, async_view, call_view
from tests.unit.cli.conftest import command

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Serving

BEGAN = 1_790_000_000.0
START = {
    "replica": "abc",
    "at": BEGAN + 3.9,
    "seconds": 3.0,
    "result": "ready",
    "stages": {"STARTING": 1.0, "LOADING": 2.0},
}


def a_cold_request(**fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "request_id": "r-1",
        "kind": "call",
        "source": "router-1",
        "trace_id": "4b" * 16,
        "began": BEGAN,
        "seconds": 5.0,
        "status": 200,
        "outcome": "answered",
        "model": "echo",
        "environment": "production",
        "cold_start": True,
        "waits": [Wait("no_replica", 0.0, 4.0, "", "abc", cold=True)],
        "attempts": [Attempt(1, "abc", "http://h:1", 4.0, "", seconds=1.0, status=200)],
    }
    return call_view(Timeline(**given | fields), starts=[START], now=BEGAN + 9)


def texts(view: dict[str, Any], width: int = 80) -> list[str]:
    return [line.plain for text in drawn(view, width) for line in text.split("\n")]


def of(lines: list[str], name: str) -> str:
    """The drawing in the row of a bar: what follows its name and process."""
    (row,) = [line for line in lines if line.lstrip().startswith(f"{name} ")]
    return row


async def an_id(request: web.Request) -> web.Response:
    if request.match_info["id"] != "r-1":
        sentence = f"There is no request {request.match_info['id']!r}, or it is no longer kept."
        return web.json_response({"error": sentence}, status=404)
    return web.json_response(a_cold_request())


TIMELINES = {"/api/v1/requests/{id}/timeline": an_id}


async def test_a_request_is_drawn_in_80_columns_where_no_terminal_is(answering: Serving) -> None:
    done = await command("trace", "r-1", "--url", await answering(TIMELINES))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("r-1  echo/production")
    assert "answered 200 in 5.00 s: waited 4.00 s for replica abc to start" in done.stdout
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert of(lines, "trace").endswith("4b" * 16)


async def test_json_is_the_whole_answer(answering: Serving) -> None:
    done = await command("trace", "r-1", "--json", "--url", await answering(TIMELINES))
    assert json.loads(done.stdout) == json.loads(json.dumps(a_cold_request()))


async def test_an_unknown_id_is_refused_in_the_servers_words(answering: Serving) -> None:
    done = await command("trace", "gone", "--url", await answering(TIMELINES))
    assert done.exit_code == cli.FAILED
    assert done.stdout == ""
    assert "There is no request 'gone', or it is no longer kept." in done.stderr


@pytest.mark.parametrize("request_id", ["a b", "", "x" * 129, "ä", "a\nb"])
async def test_a_malformed_id_is_not_even_asked_for(request_id: str) -> None:
    done = await command("trace", request_id, "--url", "http://127.0.0.1:1")
    assert done.exit_code == cli.REFUSED
    assert "is no request id" in done.stderr


async def test_an_id_with_slashes_is_one_part_of_the_path(answering: Serving) -> None:
    done = await command("trace", "a/b", "--url", await answering(TIMELINES))
    assert "There is no request 'a/b'" in done.stderr


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_every_row_fits_and_bars_stand_where_their_times_are(width: int) -> None:
    lines = texts(a_cold_request(), width)
    assert all(len(line) <= max(width, 56) for line in lines)
    wait, attempt = of(lines, "queue.wait"), of(lines, "attempt")
    # The wait is four fifths, and the attempt begins where it ends.
    assert wait.count("░") == pytest.approx(4 * attempt.count("█"), abs=4)
    assert attempt.index("█") == pytest.approx(wait.rindex("░") + 1, abs=1)
    assert of(lines, "LOADING").count("▒") == pytest.approx(
        2 * of(lines, "STARTING").count("▒"), abs=2
    )


def test_notes_are_shown_where_they_say_more_than_the_bar() -> None:
    lines = texts(a_cold_request())
    assert "  └ no replica was there" in lines
    assert not [line for line in lines if "answered 200" in line and "└" in line]


def test_a_bar_too_short_for_a_cell_can_still_be_seen() -> None:
    attempts = [Attempt(1, "abc", "", 4.9999, "", seconds=0.0001, status=200)]
    assert "▏" in of(texts(a_cold_request(attempts=attempts)), "attempt")


def test_what_goes_on_has_an_arrow_and_its_place_in_line() -> None:
    timeline = Timeline(request_id="r-1", began=BEGAN, outcome="parked")
    live = {"state": "parked", "since": BEGAN, "ahead": 3, "reason": "no_slot"}
    lines = texts(call_view(timeline, live=live, now=BEGAN + 2.0))
    assert "in line for 2.00 s: every slot is taken; 3 before it" in lines
    assert of(lines, "queue.wait").rstrip().endswith("▶   2.00 s…")
    assert "place in line  3 before it" in lines


def test_a_long_pause_before_a_webhook_is_folded() -> None:
    facts = AsyncFacts(
        request_id="a-1", status="CANCELED", created_at=BEGAN, status_at=BEGAN + 4,
        webhook_status="SUCCEEDED", webhook_host="a-receiver-with-a-long-name.example.com",
    )  # fmt: skip
    tries = [{"at": BEGAN + 304, "attempt": 1, "status": 200, "seconds": 0.1}]
    lines = texts(async_view(facts, deliveries=tries, now=BEGAN + 999))
    assert "⋮+5 min 04 s" in lines[3]
    assert of(lines, "queue.wait").index("⋮") == of(lines, "webhook.deliver").index("⋮")
    assert "█████" in of(lines, "webhook.deliver").partition("⋮")[2]
    assert all(len(line) <= 80 for line in lines)


def test_errors_and_other_requests_of_the_same_id_are_told() -> None:
    view = a_cold_request(status=503, outcome="failed_replica_lost", error="It was [lost].")
    lines = texts({**view, "others": 2})
    assert of(lines, "error").endswith("It was [lost].")
    assert lines[-1] == "2 other requests have this id; this is the newest"
