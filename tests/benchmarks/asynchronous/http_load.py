"""The load on ours: ``wrk`` for batches, one kept-alive connection for single requests."""

import http.client
import json
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.asynchronous.jobs.client import ENQUEUERS, IDLE_PAUSES_S
from tests.benchmarks.wrk import LoadGeneratorError

SCRIPT = Path(__file__).with_name("async_load.lua")
RESULT_PREFIX = "async-load-result "
PATIENCE_S = 120
WAIT_S = 30


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; times in seconds of the clock that all processes of a machine share."""

    began: float
    all_accepted: float
    finished: float


def submit(wrk: str, url: str, body: object, *, jobs: int, read_results: bool) -> Batch:
    """Submit ``jobs`` requests to ``url`` and, where asked, wait until each has SUCCEEDED.

    Raises ``LoadGeneratorError`` when a request is refused or fails, or all together take more
    than ``PATIENCE_S``.
    """
    # fmt: off
    command = [
        wrk, "-t1", f"-c{min(ENQUEUERS, jobs)}", f"-d{PATIENCE_S}s", "--timeout", f"{PATIENCE_S}s",
        "-s", str(SCRIPT), url, "--",
        str(jobs), json.dumps(body), "results" if read_results else "nothing",
    ]
    # fmt: on
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S + 30
        )
    except subprocess.TimeoutExpired as error:
        raise LoadGeneratorError(f"wrk did not end in time: {' '.join(command)}") from error
    return parse_output(ran.stdout + ran.stderr, jobs=jobs, read_results=read_results)


def parse_output(output: str, *, jobs: int, read_results: bool) -> Batch:
    """Read what the script printed; raises ``LoadGeneratorError`` unless all went well."""
    line = next((line for line in output.splitlines() if line.startswith(RESULT_PREFIX)), None)
    if line is None:
        raise LoadGeneratorError(f"wrk printed no result: {output.strip()[-500:]!r}")
    seen: dict[str, Any] = json.loads(line.removeprefix(RESULT_PREFIX))
    if seen["accepted"] != jobs or (read_results and seen["ended"] != jobs):
        raise LoadGeneratorError(
            f"of {jobs} requests {seen['accepted']} were accepted and {seen['ended']} seen to "
            f"succeed within {PATIENCE_S} s: {output[output.index(line) :].strip()[-800:]}"
        )
    return Batch(seen["began"], seen["all_accepted"], seen["finished"])


def idle_starts(port: int, path: str, jobs: int) -> list[float]:
    """Seconds from before a submission to the model's first instruction, one at a time.

    Raises ``LoadGeneratorError`` when a request is refused or fails.
    """
    pauses = random.Random(0)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S + 10)
    starts: list[float] = []
    try:
        for _ in range(jobs):
            began = time.monotonic()
            accepted = _ask(connection, "POST", path, {"model_input": {}})
            place = f"/async_request/{accepted['request_id']}?wait={WAIT_S}"
            ended = _ask(connection, "GET", place)
            if ended["status"] != "SUCCEEDED":
                raise LoadGeneratorError(f"a request did not succeed: {ended}")
            starts.append(float(ended["result"]["started"]) - began)
            time.sleep(pauses.uniform(*IDLE_PAUSES_S))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LoadGeneratorError(f"a single request failed: {error!r}") from error
    finally:
        connection.close()
    return starts


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """One good answer of an open connection."""
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    raw = response.read()
    if response.status not in {200, 201}:
        raise LoadGeneratorError(f"{method} {path}: status {response.status}: {raw[:300]!r}")
    answer: dict[str, Any] = json.loads(raw)
    return answer
