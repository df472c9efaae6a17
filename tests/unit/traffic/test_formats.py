"""Traces as others publish them, and this system's own log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.request import Outcome
from orchestrator.router.insight import summary
from orchestrator.telemetry.timeline import Attempt, Timeline, Wait
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.traffic.conftest import Reading, Refusing, Writing

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8"""

AZURE_2024 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""

MOONCAKE = """\
{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 47, 2366]}
"""

BEGAN = 1_790_000_000.0


def logged(**fields: Any) -> dict[str, Any]:
    """A request as the API lists it."""
    base: dict[str, Any] = {
        "request_id": "r",
        "kind": "call",
        "model": "echo",
        "environment": "production",
    }
    answered = {"began": BEGAN, "seconds": 2.0, "status": 200, "outcome": "answered"}
    attempt = Attempt(1, "r1", "http://r1", 0.0, "s", seconds=1.25)
    waited = Wait("no_slot", 0.0, 0.75, "s")
    attempts = {"attempts": [attempt], "waits": [waited]}
    return summary(Timeline(**(base | answered | attempts | fields)))


def document(*requests: dict[str, Any], missing: int = 0) -> str:
    found = {"requests": requests, "routers": 2, "missing": missing}
    return json.dumps(found, indent=2)


@pytest.mark.parametrize("named", ["auto", "azure_llm"])
def test_azure_s_traces_are_known_by_their_columns(
    reading: Reading, write: Writing, named: str
) -> None:
    write("a.csv", AZURE)
    found = reading({"trace": {"file": "a.csv", "format": named}})
    assert found == [Arrival(0.0, 4808, 10), Arrival(0.052, 3180, 8)]


def test_azure_s_later_traces_have_a_time_zone(reading: Reading, write: Writing) -> None:
    write("a.csv", AZURE_2024)
    found = reading({"trace": {"file": "a.csv"}})
    assert found == [Arrival(0.0, 2162, 5), Arrival(0.007405, 2399, 6)]


@pytest.mark.parametrize("named", ["auto", "mooncake"])
def test_mooncake_s_traces_are_in_milliseconds(
    reading: Reading, write: Writing, named: str
) -> None:
    write("m.jsonl", MOONCAKE)
    found = reading({"trace": {"file": "m.jsonl", "format": named}})
    assert found == [Arrival(0.0, 6955, 52), Arrival(3.053, 6472, 26)]


def test_a_wrong_format_says_what_it_misses(refusing: Refusing, write: Writing) -> None:
    write("a.csv", AZURE)
    error = refusing({"trace": {"file": "a.csv", "format": "mooncake"}})
    assert 'has no column "input_length"' in error.what


def test_columns_of_no_known_format_need_their_meaning(refusing: Refusing, write: Writing) -> None:
    write("t.csv", "time,size\n1,2\n")
    error = refusing({"trace": {"file": "t.csv"}})
    assert error.what == 'is of no format that is known by its columns: "time", "size"'
    assert error.expected.startswith("columns: {at: ...}")


@pytest.mark.parametrize("named", ["auto", "request_log"])
def test_the_system_s_own_log_is_replayed_in_order(
    reading: Reading, write: Writing, named: str
) -> None:
    log = document(
        logged(began=BEGAN + 2.5, kind="submit", attempts=[], waits=[], seconds=0.01),
        logged(began=BEGAN + 1, model="tale", input_tokens=7, output_tokens=9),
        logged(began=BEGAN + 0.5, kind="other", model="", environment="", path="/console"),
        logged(),
    )
    write("log.json", log)
    found = reading({"trace": {"file": "log.json", "format": named}})
    assert found == [
        Arrival(0.0, service_s=1.25, environment="echo.production"),
        Arrival(1.0, 7, 9, service_s=1.25, environment="tale.production"),
        Arrival(2.5, asynchronous=True, environment="echo.production"),
    ]


def test_one_environment_of_a_log_keeps_its_place_in_time(
    reading: Reading, refusing: Refusing, write: Writing
) -> None:
    write("log.json", document(logged(began=BEGAN + 3, model="tale"), logged()))
    trace = {"file": "log.json", "environment": "tale.production"}
    assert [each.at for each in reading({"trace": trace})] == [3.0]
    error = refusing({"trace": trace | {"environment": "tale.prod"}})
    assert 'did you mean "tale.production"?' in error.what


def test_logs_put_together_as_json_lines_are_read_alike(reading: Reading, write: Writing) -> None:
    rows = [logged(began=BEGAN + 3), logged(), logged(began=BEGAN + 1)]
    write("log.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    found = reading({"trace": {"file": "log.jsonl"}})
    assert [each.at for each in found] == [0.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("outcome", "attempts", "expected"),
    [
        (Outcome.ANSWERED, 1, (1.25, None)),
        (Outcome.ANSWERED, 2, (None, None)),
        (Outcome.FAILED_TIMEOUT, 1, (None, None)),
        (Outcome.FAILED_CALLER_GONE, 1, (None, 2.0)),
        (Outcome.EVICTED_DEADLINE, 0, (None, 2.0)),
    ],
)
def test_only_what_the_log_can_tell_is_taken_from_it(
    reading: Reading,
    write: Writing,
    outcome: Outcome,
    attempts: int,
    expected: tuple[float | None, float | None],
) -> None:
    write("log.json", document(logged(outcome=outcome.value) | {"attempts": attempts}))
    (found,) = reading({"trace": {"file": "log.json"}})
    assert (found.service_s, found.deadline_s) == expected


def test_a_log_that_lacks_a_router_s_requests_is_suspicious(write: Writing, tmp_path: Path) -> None:
    write("log.json", document(logged(), logged(), missing=1))
    settings = Arrivals.model_validate({"trace": {"file": "log.json"}})
    (suspicion, *_) = inspect(settings, folder=tmp_path).suspicions
    assert suspicion.what.startswith("1 of 2 routers had not answered")


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("log.json", document(), "has no request to an environment"),
        ("log.json", "{\n", "is no log of requests: Input data was truncated"),
        ("log.json", document(logged() | {"began": "now"}), "is no log of requests: Expected"),
        ("log.json", document(logged() | {"seconds": -1}), "requests[0]: seconds is -1"),
        ("log.jsonl", json.dumps(logged()) + "\n{}\n", "is no request: Object missing required"),
        ("log.jsonl", json.dumps(logged() | {"waited_s": -2}) + "\n", "waited_s is -2"),
    ],
)
def test_what_is_no_log_is_refused(
    refusing: Refusing, write: Writing, name: str, text: str, what: str
) -> None:
    write(name, text)
    error = refusing({"trace": {"file": name, "format": "request_log"}})
    assert what in error.what
