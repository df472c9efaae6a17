"""This system's own record of its requests, as `orchestrator requests --json` prints it.

That is one JSON document with `requests`, newest first. Several of them, put together
as JSON lines (`jq -c '.requests[]'`), may be longer and are read the same way.

A call that was answered at its first attempt ran for as long as it took less its waits.
One whose caller went away, or whose deadline passed, had that long to be answered. Of
one that was handed over to be run later it is only known when that was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from orchestrator.config.problems import shown
from orchestrator.lifecycle.request import Outcome
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened
from orchestrator.traffic.recorded import MOST_IN_MEMORY
from orchestrator.traffic.rows import Rows, pieces
from orchestrator.traffic.survey import Suspicion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

COLUMNS: Final = frozenset({"request_id", "began", "seconds", "waited_s", "outcome"})
"""Some of the keys of each request, by which it is known."""

AN_OBJECT: Final = "a request as `orchestrator requests --json` prints it"

_GAVE_UP: Final = frozenset(
    {
        Outcome.EVICTED_DEADLINE.value,
        Outcome.EVICTED_CALLER_GONE.value,
        Outcome.FAILED_DEADLINE.value,
        Outcome.FAILED_CALLER_GONE.value,
    }
)


class Logged(msgspec.Struct, gc=False):
    """One request of the log; its fields are `orchestrator.telemetry.timeline`'s."""

    began: float
    seconds: float
    waited_s: float
    outcome: str
    kind: str
    model: str
    environment: str
    attempts: int
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def service_s(self) -> float:
        """How long it ran; nan where that cannot be told."""
        told = self.kind == "call" and self.outcome == Outcome.ANSWERED and self.attempts == 1
        return max(self.seconds - self.waited_s, 0.0) if told else math.nan

    @property
    def deadline_s(self) -> float:
        """When its caller gave up; nan: never."""
        return self.seconds if self.outcome in _GAVE_UP else math.nan

    def check(self) -> None:
        """Raises ValueError where a number cannot be right."""
        for name in ("began", "seconds", "waited_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {shown(value)}")


class Log(msgspec.Struct):
    """The document."""

    requests: list[Logged]
    routers: int = 0
    missing: int = 0


def read(file: str, suspicions: list[Suspicion]) -> Iterator[Rows]:
    """Its calls and submissions to an environment, in order; the first one comes at 0.

    All of it is held in memory.

    Raises:
        TrafficError: it cannot be read, or is no such log.
    """
    with opened(file) as stream:
        logged = _document(stream, file, suspicions) if is_document(file) else _lines(stream, file)
    found = [each for each in logged if each.kind != "other" and each.model and each.environment]
    if not found:
        raise TrafficError(file, None, "has no request to an environment", "at least one")
    found.sort(key=lambda each: each.began)
    yield from pieces(_rows(found))


def is_document(file: str) -> bool:
    """Whether a file is one JSON document, rather than an object a line."""
    with opened(file) as stream:
        first = stream.readline().strip()
    if first in (b"{", b"["):
        return True
    try:
        row = msgspec.json.decode(first)
    except msgspec.DecodeError:
        return False
    return isinstance(row, dict) and isinstance(row.get("requests"), list)


def _document(stream: IO[bytes], file: str, suspicions: list[Suspicion]) -> list[Logged]:
    try:
        log = msgspec.json.decode(stream.read(), type=Log)
        for index, each in enumerate(log.requests):
            try:
                each.check()
            except ValueError as error:
                raise TrafficError(file, None, f"requests[{index}]: {error}", AN_OBJECT) from None
    except msgspec.DecodeError as error:
        raise TrafficError(file, None, f"is no log of requests: {error}", AN_OBJECT) from None
    if log.missing:
        what = f"{log.missing} of {log.routers} routers had not answered when it was asked for"
        suspicions.append(Suspicion(what, "their requests are not in it"))
    return log.requests


def _lines(stream: IO[bytes], file: str) -> list[Logged]:
    decode = msgspec.json.Decoder(Logged).decode
    found: list[Logged] = []
    for number, line in enumerate(stream, start=1):
        if line.isspace():
            continue
        try:
            found.append(decode(line))
            found[-1].check()
        except (msgspec.DecodeError, ValueError) as error:
            raise TrafficError(file, number, f"is no request: {error}", AN_OBJECT) from None
        if len(found) > MOST_IN_MEMORY:
            what = f"has more than {MOST_IN_MEMORY:,} requests"
            raise TrafficError(file, number, what, "a log that can be sorted in memory")
    return found


def _rows(logged: list[Logged]) -> Rows:
    began = np.array([each.began for each in logged])
    names = [f"{each.model}.{each.environment}" for each in logged]
    return Rows(
        at=began - began[0],
        prompt_tokens=np.array([each.input_tokens or 0 for each in logged]),
        output_tokens=np.array([each.output_tokens or 0 for each in logged]),
        service_s=np.array([each.service_s for each in logged]),
        deadline_s=np.array([each.deadline_s for each in logged]),
        asynchronous=np.array([each.kind == "submit" for each in logged]),
        environment=np.array(names, dtype=np.object_),
    )
