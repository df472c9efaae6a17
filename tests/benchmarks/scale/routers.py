"""What more routers bring: requests per second and latency at 64 connections."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks import wrk as load
from tests.benchmarks.scale.cluster import (
    LOAD_BALANCER,
    QUEUES,
    REPLICAS,
    ROUTERS,
    ScaleCluster,
    model,
)
from tests.benchmarks.scale.table import Section, middle, shown

COUNTS = (1, 2, 4)
CONNECTIONS = 64
_WARM_UP_S = 1.0
_PARTS = (LOAD_BALANCER, ROUTERS, QUEUES, REPLICAS)


@dataclass(frozen=True, slots=True)
class Seen:
    """One measurement with so many routers.

    `cost_us`: microseconds of a core that a request costs each part.
    """

    routers: int
    throughput: float
    p50_ms: float
    p99_ms: float
    errors: int
    cost_us: dict[str, float]


def measure(
    rounds: int, seconds: float, wrk: str, logs: Path, tell: Callable[[str], None]
) -> Section:
    """One cluster, whose number of routers changes; raises ``PeerError``."""
    seen: list[Seen] = []
    config = {"models": {"echo": model(CONNECTIONS)}, "router": _routers(1)}
    cluster = ScaleCluster(logs, config)
    try:
        cluster.start()
        cluster.wait_for_answer(cluster.model_url("echo"), None)
        for _ in range(rounds):
            for count in COUNTS:
                seen.append(_visit(cluster, count, seconds, wrk))
                tell(f"routers: {count}: {seen[-1].throughput:,.0f}/s")
    finally:
        cluster.stop()
    return _section(seen, rounds, seconds)


def _routers(count: int) -> dict[str, int]:
    """The section; only the number can change while a cluster runs."""
    return {"replicas": count, "drain_seconds": 1}


def _visit(cluster: ScaleCluster, count: int, seconds: float, wrk: str) -> Seen:
    cluster.change({"router": _routers(count)})
    cluster.wait_for_count(ROUTERS, count)
    url = cluster.model_url("echo")
    load.measure(wrk, url, cluster.body, connections=CONNECTIONS, seconds=_WARM_UP_S)
    found, spent_s = cluster.cost_of(
        lambda: load.measure(wrk, url, cluster.body, connections=CONNECTIONS, seconds=seconds),
        _PARTS,
    )
    cost_us = {part: 1e6 * seconds / found.requests for part, seconds in spent_s.items()}
    return Seen(count, found.throughput, found.p50_ms, found.p99_ms, found.errors, cost_us)


def _section(seen: Sequence[Seen], rounds: int, seconds: float) -> Section:
    rows, base = [], 0.0
    for count in COUNTS:
        same = [one for one in seen if one.routers == count]
        rate = middle([one.throughput for one in same])
        base = base or rate
        rows.append(
            [
                str(count),
                shown(rate),
                shown(rate / base, 2),
                shown(middle([one.p50_ms for one in same]), 2),
                shown(middle([one.p99_ms for one in same]), 2),
                str(sum(one.errors for one in same)),
                *(shown(middle([one.cost_us[part] for one in same])) for part in _PARTS),
            ]
        )
    return Section(
        "routers",
        f"One echo replica of {CONNECTIONS} slots, {CONNECTIONS} connections of one thread of wrk "
        f"on the same cores; medians of {rounds} rounds of {seconds:g} s. The last columns are "
        "microseconds of a core that a request costs each part.",
        ["routers", "requests/s", "÷ one router's", "p50 ms", "p99 ms", "errors", *_PARTS],
        rows,
        [asdict(one) for one in seen],
    )
