"""What environments cost that nobody calls: their start, and what they use while idle."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.base import PeerError
from tests.benchmarks.scale.cluster import (
    CONTROLLER,
    OBSERVATORY,
    QUEUES,
    RAY,
    ROUTERS,
    ScaleCluster,
    Usage,
    model,
)
from tests.benchmarks.scale.table import Section, shown

COUNTS = (1, 10, 50, 100)
SETTLING_S = 15.0
_LONGEST_START_S = 900.0
_COLUMNS = (CONTROLLER, QUEUES, ROUTERS, OBSERVATORY, RAY)


@dataclass(frozen=True, slots=True)
class Seen:
    """One cluster.

    Attributes:
        count: its environments.
        start_s: from deploying all but the first, until every queue has answered; None: there
            was only one, or it took longer than the limit.
        busy: share of one core, by kind of process.
        megabytes: memory of their own, by kind of process.
    """

    count: int
    start_s: float | None
    busy: dict[str, float]
    megabytes: dict[str, float]


def measure(
    counts: Sequence[int], seconds: float, logs: Path, tell: Callable[[str], None]
) -> Section:
    """One cluster after the other; raises ``PeerError``."""
    seen = []
    for count in counts:
        one = _visit(count, seconds, logs)
        started = "-" if one.start_s is None else f"{one.start_s:.1f} s"
        tell(f"environments: {count}: {started}, controller {100 * one.busy[CONTROLLER]:.0f} %")
        seen.append(one)
    return _section(seen, seconds)


def _visit(count: int, seconds: float, logs: Path) -> Seen:
    models = {f"m{number}": model(replicas=0) for number in range(count)}
    cluster = ScaleCluster(logs, {"models": {"m0": models["m0"]}})
    try:
        cluster.start()
        start_s = _deploy(cluster, models) if count > 1 else None
        time.sleep(SETTLING_S)
        before, at = cluster.usage(memory=False), time.monotonic()
        time.sleep(seconds)
        after, took = cluster.usage(), time.monotonic() - at
    finally:
        cluster.stop()
    kinds = {*_COLUMNS, *after}
    busy = {
        kind: (after.get(kind, Usage()).cpu_s - before.get(kind, Usage()).cpu_s) / took
        for kind in kinds
    }
    return Seen(count, start_s, busy, {k: after.get(k, Usage()).megabytes for k in kinds})


def _deploy(cluster: ScaleCluster, models: dict[str, Any]) -> float | None:
    """Seconds until the queues of all models answer; None: longer than the limit."""
    began = time.monotonic()
    cluster.change({"models": models})
    left = list(models)
    with contextlib.suppress(PeerError):
        cluster.wait_until(lambda: _all_answer(cluster, left), "queues", seconds=_LONGEST_START_S)
        return time.monotonic() - began
    return None


def _all_answer(cluster: ScaleCluster, models: list[str]) -> bool:
    """Whether every queue tells of itself; those that do are not asked again."""
    while models:
        said = cluster.ask(f"/api/v1/models/{models[-1]}/environments/production")
        if not said or not said.get("live"):
            return False
        models.pop()
    return True


def _section(seen: Sequence[Seen], seconds: float) -> Section:
    rows = [
        [
            str(one.count),
            shown(one.start_s, 1),
            *(f"{100 * one.busy[kind]:.1f} % / {shown(one.megabytes[kind])}" for kind in _COLUMNS),
            f"{100 * sum(one.busy.values()):.1f} % / {shown(sum(one.megabytes.values()))}",
        ]
        for one in seen
    ]
    return Section(
        "environments",
        f"Environments without any load or replica. Idle over {seconds:g} s, of all processes of "
        "a kind: percent of one core / megabytes that no other process shares.",
        ["environments", "deployed in, s", *_COLUMNS, "everything"],
        rows,
        [asdict(one) for one in seen],
    )
