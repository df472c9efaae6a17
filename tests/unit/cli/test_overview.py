"""What the terminal says about environments and calls."""

from typing import Any

import pytest
from rich.console import Console

from orchestrator import overview
from orchestrator.http_client import Answer


def live(**changes: Any) -> dict[str, Any]:
    return {
        "status": "ACTIVE",
        "reason": None,
        "desired": 3,
        "waiting": 4,
        "oldest_wait_s": 2.5,
        "in_use": 4,
        "replicas": [{"id": "a", "stage": "READY"}, {"id": "b", "stage": "LOADING"}],
        "provisioning": {"count": 0, "for_s": 0, "needs": {"num_gpus": 1, "num_cpus": 0.5}},
        **changes,
    }


def rendered(environments: list[dict[str, Any]]) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(overview.environments_table("http://127.0.0.1:8000", environments))
    return capture.get()


def test_an_environment_is_one_row() -> None:
    found = {"name": "production", "model": "m", "status": "ACTIVE", "deployment": "v1"}
    later = {"queued": 3, "in_progress": 0, "dead_letters": False}
    text = rendered([found | {"live": live(), "async": later}])
    (row,) = [line for line in text.splitlines() if "m/production" in line]
    assert row.split() == [
        *("m/production", "ACTIVE", "v1", "1/3", "4", "4", "2.50", "s"),
        *("3", "queued", "loading"),
    ]


def test_what_cannot_be_told_of_asynchronous_requests_is_a_question_mark() -> None:
    found = {"name": "production", "model": "m", "status": "ACTIVE", "deployment": "v1"}
    (row,) = [line for line in rendered([found]).splitlines() if "m/production" in line]
    assert row.split()[-1] == "?"


def test_a_reason_with_brackets_is_told_as_it_is() -> None:
    broken = live(status="UNHEALTHY", reason="load() raised KeyError: [/weights]")
    found = {"name": "production", "model": "m", "status": "UNHEALTHY", "live": broken}
    assert "KeyError: [/weights]" in rendered([found])


def test_an_environment_whose_queue_does_not_answer_is_shown_all_the_same() -> None:
    found = {"name": "production", "model": "m", "status": "UNHEALTHY", "live": None}
    assert "UNHEALTHY" in rendered([found])


def test_a_replica_that_waits_for_a_gpu_is_told() -> None:
    waiting = {"count": 1, "for_s": 12, "needs": {"num_gpus": 1, "num_cpus": 0}}
    assert overview.note(live(provisioning=waiting)) == (
        "1 starting or waiting for 1 GPU, 12.00 s; loading"
    )


def test_the_reason_is_told_only_while_it_holds() -> None:
    broken = live(status="UNHEALTHY", reason="load() raised", replicas=[])
    assert overview.note(broken) == "load() raised"
    assert overview.note(broken | {"status": "ACTIVE"}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00071, "0.7 ms"), (0.0414, "41 ms"), (3.211, "3.21 s")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert overview.milliseconds(seconds) == text


def test_a_streamed_call_is_summed_up() -> None:
    headers = {"x-queue-wait-ms": "2100", "x-cold-start": "true"}
    answer = Answer(200, headers, b"abc", seconds=3.0, chunk_seconds=[2.5, 2.6, 3.0])
    assert overview.call_summary(answer, stream=True) == (
        "200 in 3.00 s, waited 2.10 s, cold start, first chunk after 2.50 s, "
        "3 chunks, longest gap 400 ms"
    )
