"""Permits per second of one queue: the decisions alone, and the deployment with its callers."""

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.config import compile_serve
from orchestrator.config.loading import load_text
from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.permits import Exchange, Head
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.replica_pool import SETTLE_S
from orchestrator.lifecycle.settings import EnvironmentSettings
from tests.benchmarks.peers.base import PROJECT, PeerError
from tests.benchmarks.scale.cluster import QUEUES, ScaleCluster, model
from tests.benchmarks.scale.table import Section, middle, shown

HOLDERS = (1, 2, 4)
TASKS = 16
"""Requests at a time in each holder."""

SLOTS = 256
HOLDER = "tests.benchmarks.scale.holder"
_CONNECT_S = 90.0
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """One measurement; None: not looked at.

    Attributes:
        granted_per_s: permits that the queue gave out.
        taken_per_s: requests that ran with one; several follow each other on one that is kept.
        queue_busy: the queue's share of one core.
    """

    name: str
    granted_per_s: float
    taken_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    queue_busy: float | None = None


def measure(rounds: int, seconds: float, logs: Path, tell: Callable[[str], None]) -> Section:
    """Everything of this section; raises ``PeerError``."""
    seen = []
    for holders in HOLDERS:
        for _ in range(rounds):
            rate = decisions_per_s(holders, seconds)
            seen.append(Seen(f"decisions alone, {holders} {_word(holders)}", rate))
    tell(f"permits: decisions alone: {seen[0].granted_per_s:,.0f}/s")
    cluster = ScaleCluster(logs, {"models": {"echo": model(SLOTS)}})
    try:
        cluster.start()
        cluster.wait_for_answer(cluster.model_url("echo"), None)
        for number, (keep, holders) in itertools.product(
            range(rounds), itertools.product((False, True), HOLDERS)
        ):
            one = _exchanging(cluster, holders, seconds, keep=keep)
            seen.append(one)
            tell(f"permits: round {number + 1}: {one.name}: {one.granted_per_s:,.0f}/s")
    finally:
        cluster.stop()
    return _section(seen, rounds, seconds)


def decisions_per_s(holders: int, seconds: float) -> float:
    """Permits granted and taken back per second by the queue's pure object, in this process."""
    queue, turns, now = ready_queue(holders)
    granted = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for holder in itertools.islice(itertools.cycle(turns), _BATCH):
            now += 0.0001
            granted += holder.turn(now)
        _keep_replica(queue, now)
        queue.tick(now)
    return granted / (time.perf_counter() - began)


def ready_queue(holders: int) -> tuple[EnvironmentQueue, list["_Holder"], float]:
    """A queue whose replica has settled, its holders, and the time on its clock."""
    queue = EnvironmentQueue(EnvironmentSettings.from_mapping(settings()), "bench", 0.0)
    _keep_replica(queue, 0.0)
    now = 2 * SETTLE_S
    queue.tick(now)
    return queue, [_Holder(queue, f"holder-{number}") for number in range(holders)], now


class _Holder:
    """Gives back the permit that it has, and asks for another one."""

    def __init__(self, queue: EnvironmentQueue, name: str) -> None:
        self._queue, self._name = queue, name
        self._seq, self._term, self._acked = 0, "", 0

    def turn(self, now: float) -> int:
        """One exchange; how many permits it brought."""
        self._seq += 1
        reply = self._queue.exchange(
            Exchange(
                self._name,
                self._seq,
                term=self._term,
                acked=self._acked,
                waiting=1,
                heads=(Head(0.0),),
                uptime_s=now,
            ),
            now,
        )
        if reply.term != self._term:
            self._term, self._acked = reply.term, 0
        new = [grant.number for grant in reply.grants if grant.number > self._acked]
        self._acked = max([self._acked, *new])
        return len(new)


def _keep_replica(queue: EnvironmentQueue, now: float) -> None:
    report = ReplicaReport(
        "replica", "v1", Stage.READY, SLOTS, address="http://127.0.0.1:1", in_flight=0
    )
    queue.report(report, now)


def settings() -> dict[str, Any]:
    """What the queue of the measured environment goes by."""
    found: dict[str, Any] = _queue_options()["user_config"]
    return found


def bounds() -> dict[str, Any]:
    """What the holders of it go by."""
    found: dict[str, Any] = settings()["queue"]
    return found


def _queue_options() -> dict[str, Any]:
    config = load_text(
        json.dumps({"cluster": {"name": "scale"}, "models": {"echo": model(SLOTS)}}), "scale", {}
    )
    applications = compile_serve(config, {})["applications"]
    options = (deployment for each in applications for deployment in each["deployments"])
    return next(each for each in options if each["name"] == "Queue")


def _exchanging(cluster: ScaleCluster, holders: int, seconds: float, *, keep: bool) -> Seen:
    """Holders in processes of their own, which talk to the queue as routers do."""
    asked = {"application": "echo.production", "tasks": TASKS, "seconds": seconds, "keep": keep}
    with _started(cluster, holders) as children:
        for child in children:
            _line_of(child, _CONNECT_S)  # it is connected
        (queue,) = cluster.of_kind(QUEUES)
        before, began = queue.cpu_times(), time.monotonic()
        for child in children:
            child.stdin.write(json.dumps(asked).encode() + b"\n")
            child.stdin.flush()
        found = [json.loads(_line_of(child, seconds + _CONNECT_S)) for child in children]
        after, took = queue.cpu_times(), time.monotonic() - began
    busy = (after.user + after.system - before.user - before.system) / took
    kept = "kept for 1 s" if keep else "not kept"
    return Seen(
        f"{kept}, {holders} {_word(holders)}",
        sum(each["granted"] for each in found) / seconds,
        sum(each["taken"] for each in found) / seconds,
        middle([each["p50_ms"] for each in found]),
        max(each["p99_ms"] for each in found),
        busy,
    )


def _word(holders: int) -> str:
    return "holder" if holders == 1 else "holders"


@contextlib.contextmanager
def _started(cluster: ScaleCluster, holders: int) -> Iterator[list[Any]]:
    """Holders on their way to the cluster; what they complain of is in a log beside its own."""
    record = cluster.record()
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | record.settings
    command = [sys.executable, "-m", HOLDER, record.gcs_address or ""]
    pipe = subprocess.PIPE
    log_path = cluster.processes.log_path.with_name("scale-holders.log")
    children: list[subprocess.Popen[bytes]] = []
    try:
        with log_path.open("wb") as log:
            children += [
                subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=log, cwd=PROJECT)
                for _ in range(holders)
            ]
        yield children
    except PeerError as error:
        said = log_path.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise PeerError(f"{error}; end of {log_path}:\n{said}") from error
    finally:
        for child in children:
            child.kill()
            with child:  # closes its pipes, and waits
                pass


def _line_of(child: Any, patience_s: float) -> str:
    """The next line that a holder prints; raises ``PeerError`` where none comes in time."""
    ready, _, _ = select.select([child.stdout], [], [], patience_s)
    line = child.stdout.readline() if ready else b""
    if not line:
        raise PeerError(f"a holder said nothing for {patience_s:g} s, or ended: {child.poll()}")
    return str(line.decode())


def _section(seen: Sequence[Seen], rounds: int, seconds: float) -> Section:
    rows = []
    for name in dict.fromkeys(each.name for each in seen):
        same = [each for each in seen if each.name == name]
        rows.append(
            [
                name,
                shown(middle([each.granted_per_s for each in same])),
                shown(_middle(same, "taken_per_s")),
                *(shown(_middle(same, what), 2) for what in ("p50_ms", "p99_ms")),
                shown(_percent(_middle(same, "queue_busy"))),
            ]
        )
    return Section(
        "permits",
        f"One queue; {TASKS} requests at a time in each holder, which take a permit and give it "
        f"back at once; medians of {rounds} rounds of {seconds:g} s.",
        ["permits", "granted/s", "taken/s", "p50 ms", "p99 ms", "queue's core, % busy"],
        rows,
        [asdict(each) for each in seen],
    )


def _middle(seen: Sequence[Seen], what: str) -> float | None:
    values = [value for each in seen if (value := getattr(each, what)) is not None]
    return middle(values) if values else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
