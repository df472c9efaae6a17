"""The harness that compares replays with simulations."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from orchestrator.config import compile_serve
from orchestrator.config import load as load_config
from orchestrator.http_client import CallError, ClusterClient
from orchestrator.lifecycle.replica import Stage
from orchestrator.replay.planned import Planned
from orchestrator.reports.measures import Ended
from orchestrator.reports.report import (
    LIVE,
    SIMULATED,
    Distribution,
    EnvironmentReport,
    Report,
    RunReport,
)
from orchestrator.simulator.loading import load
from orchestrator.simulator.starts import read_starts
from tests.fidelity import __main__ as harness
from tests.fidelity.calibration import Calibration, Called, Overheads, calibration
from tests.fidelity.run import EXPERIMENT, HERE, configure
from tests.fidelity.table import markdown, rows_of

if TYPE_CHECKING:
    from pathlib import Path

STAGES = {"PROVISIONING": 2.05, "STARTING": 0.1, "LOADING": 1.0, "WARMING": 0.0}


def run_of(kind: str, seed: int, p95: float, gpu_seconds: float) -> RunReport:
    latency = Distribution(count=100, mean=p95 / 3, p50=p95 / 5, p95=p95, p99=2 * p95)
    found = EnvironmentReport(requests=100, latency=latency, gpu_seconds=gpu_seconds)
    return RunReport(kind=kind, label="fidelity", seed=seed, environments={"timed": found})


def test_the_table_says_how_far_off_and_whether_the_bounds_hold():
    runs = [
        *(run_of(SIMULATED, seed, 2.1, 120.0) for seed in (1, 2)),
        *(run_of(LIVE, seed, 2.0, 100.0) for seed in (1, 2)),
    ]
    rows = {row.metric.key: row for row in rows_of(Report(runs=runs))}
    assert (rows["latency_p95_s"].ratio, rows["latency_p95_s"].holds) == (1.05, True)
    assert (rows["gpu_seconds"].ratio, rows["gpu_seconds"].holds) == (1.2, False)
    assert rows["latency_p99_s"].holds is None
    assert rows["share_cold"].ratio is None  # nothing was cold, live
    lines = markdown(list(rows.values())).splitlines()
    assert "| replica-seconds | 100 s | 120 s | 1.200 | ± 10 % MISSED |" in lines
    assert "| requests | 100 | 100 | 1.000 |  |" in lines


def test_the_clusters_file_with_the_experiments_settings_is_a_valid_one(tmp_path: Path):
    plan = load(EXPERIMENT)
    [point] = plan.points
    template = YAML(typ="safe").load(HERE / "cluster.yaml")
    config = copy.deepcopy(template)
    configure(config, point.experiment)
    path = tmp_path / "cluster.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    found = load_config(path, {"DEV_KEY_SECRET": "0123456789abcdef"})
    compile_serve(found, {"DEV_KEY_SECRET": "0123456789abcdef"})
    wanted = point.experiment.environments["timed"]
    model = found.models["timed"]
    assert model.environments["production"].autoscaling == wanted.autoscaling
    assert model.deployments["v1"].concurrency == wanted.concurrency
    # No start waits for a GPU: a wait would be in the recorded stages, and simulated again.
    assert found.cluster.gpus is not None
    assert found.cluster.gpus > wanted.autoscaling.max_replica


class Timelines(ClusterClient):
    """Knows how long a replica had each request, by its id."""

    def __init__(self, held: dict[str, list[float]]) -> None:
        super().__init__("http://127.0.0.1:1", None)
        self._held = held

    async def timeline(self, request_id: str) -> dict[str, Any]:
        if request_id not in self._held:
            raise CallError("404: it is no longer kept", status=404)
        attempts = [{"seconds": seconds} for seconds in self._held[request_id]]
        return {"raw": {"timeline": {"attempts": attempts}}}


def called(number: int, *, service_s: float, latency_s: float, wait_s: float = 0.0) -> Called:
    planned = Planned(0.0, 0, number, b"", service_s)
    ended = Ended(latency_s, latency_s, wait_s, latency_s, 0.0, "answered", False, 1, False)
    return Called(planned, ended)


STARTS = [{"result": "ready", "stages": STAGES}] * 8 + [{"result": "failed", "stages": {}}]


async def test_overheads_are_what_is_added_in_the_slot_and_outside_of_it():
    client = Timelines({"r-0": [0.51], "r-1": [1.03], "r-2": [1.0, 0.5]})
    calls = [
        called(0, service_s=0.5, latency_s=0.513),
        called(1, service_s=1.0, latency_s=3.035, wait_s=2.0),
        called(2, service_s=1.0, latency_s=9.0),  # tried again: it tells of a failure
        called(3, service_s=1.0, latency_s=9.0),  # no longer known
    ]
    found = await calibration(client, STARTS, calls, "r-")
    assert found.overheads == pytest.approx(Overheads(slot_s=0.02, outside_s=0.004))


async def test_too_little_to_go_by_is_said():
    with pytest.raises(RuntimeError, match="only 3 replicas were started"):
        await calibration(Timelines({}), STARTS[:3], [], "r-")
    with pytest.raises(RuntimeError, match="no timeline"):
        await calibration(Timelines({}), STARTS, [called(0, service_s=1, latency_s=1)], "r-")


async def test_what_was_measured_is_what_is_simulated(tmp_path: Path):
    client = Timelines({"r-0": [0.51]})
    found = await calibration(client, STARTS, [called(0, service_s=0.5, latency_s=0.513)], "r-")
    recorded = tmp_path / "starts.json"
    recorded.write_text(json.dumps(found.starts))
    [point] = load(EXPERIMENT, found.settings("timed", str(recorded))).points
    timed = point.experiment.environments["timed"]
    assert timed.slot_overhead_milliseconds == pytest.approx(10.0)
    assert timed.overhead_milliseconds == pytest.approx(3.0)
    # Of a start, what the decision took on its way is off: it is simulated by itself.
    first, *others = read_starts(str(recorded), folder=tmp_path).tolist()
    assert first == pytest.approx([2.0, 0.1, 1.0, 0.0])
    assert others == [first] * 7
    assert list(STAGES) == [stage.value for stage in Stage][:4]


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- fidelity -->\nold\n<!-- /fidelity -->\nafter\n")
    return path


def test_the_readme_is_changed_between_its_markers_only(readme: Path):
    harness.update(readme, "new\n")
    assert readme.read_text() == "before\n<!-- fidelity -->\nnew\n<!-- /fidelity -->\nafter\n"


def test_a_readme_without_markers_is_left_alone(readme: Path):
    readme.write_text("nothing")
    with pytest.raises(SystemExit, match="there is no <!-- fidelity -->"):
        harness.update(readme, "new\n")
    assert readme.read_text() == "nothing"


def test_what_was_done_is_told_with_the_numbers():
    runs = [run_of(LIVE, 1, 2.0, 100.0)]
    runs[0].span_s = 155.6
    runs[0].lag = {"p50": 0.001, "p99": 0.0042, "max": 0.1}
    found = harness.about(Report(runs=runs), Calibration(STARTS, Overheads(0.0021, 0.0034)), 3)
    assert found.startswith("`make fidelity`, 3 seeds, 156 s each, ")
    assert "9 starts, 2.1 ms added to a request in its slot and 3.4 ms outside of it" in found
    assert "99 % were sent at most 4.2 ms late" in found
