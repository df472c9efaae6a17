"""What more dispatchers bring: asynchronous requests accepted and finished per second."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.asynchronous.http_load import submit
from tests.benchmarks.scale.cluster import DISPATCHERS, ROUTERS, STORE, ScaleCluster, model
from tests.benchmarks.scale.table import Section, middle, shown

COUNTS = (1, 2)
JOBS = 2000
SLOTS = 64
_WARM_UP_JOBS = 200
_PARTS = (DISPATCHERS, ROUTERS, STORE)
_MODEL = "tests.benchmarks.asynchronous.model:Started"


@dataclass(frozen=True, slots=True)
class Seen:
    """One batch with so many dispatchers.

    `store_busy` is its share of one core; `cost_us`, microseconds of a core that a request costs
    each part.
    """

    dispatchers: int
    accepted_per_s: float
    finished_per_s: float
    store_busy: float
    cost_us: dict[str, float]


def measure(rounds: int, jobs: int, wrk: str, logs: Path, tell: Callable[[str], None]) -> Section:
    """One cluster, whose number of dispatchers changes; raises ``PeerError``."""
    seen: list[Seen] = []
    cluster = ScaleCluster(logs, {"models": {"noop": model(SLOTS, class_path=_MODEL)}})
    try:
        cluster.start()
        ready = "/api/v1/models/noop/environments/production"
        cluster.wait_until(lambda: _ready(cluster.ask(ready)), "a replica", seconds=60)
        for _ in range(rounds):
            for count in COUNTS:
                seen.append(_visit(cluster, count, jobs, wrk))
                tell(f"dispatchers: {count}: {seen[-1].finished_per_s:,.0f}/s finished")
    finally:
        cluster.stop()
    return _section(seen, rounds, jobs)


def _ready(said: dict[str, dict[str, list[dict[str, str]]]] | None) -> bool:
    replicas = said["live"]["replicas"] if said and said.get("live") else []
    return any(replica["stage"] == "READY" for replica in replicas)


def _visit(cluster: ScaleCluster, count: int, jobs: int, wrk: str) -> Seen:
    cluster.change({"dispatcher": {"replicas": count}})
    cluster.wait_for_count(DISPATCHERS, count)
    url = f"http://127.0.0.1:{cluster.port}/models/noop/production/async_predict"
    body: dict[str, object] = {"model_input": {}}
    submit(wrk, url, body, jobs=min(jobs, _WARM_UP_JOBS), read_results=True)
    batch, spent_s = cluster.cost_of(
        lambda: submit(wrk, url, body, jobs=jobs, read_results=True), _PARTS
    )
    took = batch.finished - batch.began
    accepted = jobs / (batch.all_accepted - batch.began)
    cost_us = {part: 1e6 * seconds / jobs for part, seconds in spent_s.items()}
    return Seen(count, accepted, jobs / took, spent_s[STORE] / took, cost_us)


def _section(seen: Sequence[Seen], rounds: int, jobs: int) -> Section:
    rows = []
    for count in COUNTS:
        same = [one for one in seen if one.dispatchers == count]
        rows.append(
            [
                str(count),
                shown(middle([one.accepted_per_s for one in same])),
                shown(middle([one.finished_per_s for one in same])),
                shown(100 * middle([one.store_busy for one in same])),
                *(shown(middle([one.cost_us[part] for one in same])) for part in _PARTS),
            ]
        )
    return Section(
        "dispatchers",
        f"One no-op replica of {SLOTS} slots, one router, the embedded store; {jobs:,} requests "
        f"over 64 connections of wrk, each result read; medians of {rounds} rounds. The last columns "
        "are microseconds of a core that a request costs each part.",
        ["dispatchers", "accepted/s", "finished/s", "store's core, % busy", *_PARTS],
        rows,
        [asdict(one) for one in seen],
    )
