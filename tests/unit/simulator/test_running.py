"""Running the points of an experiment, one by one and in processes side by side."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import psutil
import pytest

from orchestrator.simulator import running
from orchestrator.simulator.loading import load
from orchestrator.simulator.running import Progress, RunError, run, run_point, surveys
from orchestrator.traffic.errors import TrafficError
from tests import recorded
from tests.unit.simulator.experiments import SMALL, loaded

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Seen, Wish
    from orchestrator.reports.report import RunReport

PATH = "environments.*.autoscaling.scale_down_delay"
SWEPT = f"{SMALL}seeds: [1, 2]\nsweep: {{{PATH}: [0, 60]}}\n"
ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs" / "experiments"
TRACES = {
    "azure-llm-2023-code": recorded.AZURE_CODE,
    "mooncake-conversation": recorded.MOONCAKE_CONVERSATION,
    "servegen-m-small": recorded.SERVEGEN_SMALL,
}

DYING = """
import os

class Dying:
    def __init__(self, *, pid: int) -> None:
        self.pid = pid

    def wish(self, now: float, seen: object) -> object:
        if os.getpid() != self.pid:
            os._exit(9)
"""

ENDLESS = """
class Endless:
    def wish(self, now: float, seen: object) -> object:
        while True:
            pass
"""

SCRIPT = """
import signal
import sys
from pathlib import Path
from orchestrator.simulator.loading import load
from orchestrator.simulator.running import run

if __name__ == "__main__":
    # Whoever runs the tests in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(load(Path(sys.argv[1])), jobs=2)
"""


def facts(found: RunReport) -> bytes:
    """Everything that a run came to, but how long it took."""
    return msgspec.json.encode(msgspec.structs.replace(found, cpu_s=0.0))


def test_every_point_is_run_with_every_seed_and_reported_in_order(tmp_path):
    told: list[Progress] = []
    report = run(loaded(tmp_path, SWEPT), on_progress=told.append)
    assert [(found.label, found.seed) for found in report.runs] == [
        ("scale_down_delay=0", 1),
        ("scale_down_delay=0", 2),
        ("scale_down_delay=60", 1),
        ("scale_down_delay=60", 2),
    ]
    assert [(each.done, each.total) for each in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [each.run.label for each in told] == [found.label for found in report.runs]
    first = report.runs[0]
    assert report.experiment == "small"
    assert first.parameters == {PATH: 0}
    assert list(first.environments) == ["code", "chat"]
    assert first.whole.outcomes == {"answered": first.whole.requests}
    assert first.span_s >= 60
    assert first.pool.gpus == 4


def test_points_are_compared_on_the_same_requests(tmp_path):
    report = run(loaded(tmp_path, SWEPT))
    at_once, later = (
        [found.whole for found in report.runs if found.parameters == {PATH: delay}]
        for delay in (0, 60)
    )
    means = [each.service.mean for each in at_once]
    assert [each.service.mean for each in later] == pytest.approx(means)
    assert at_once[0].requests != at_once[1].requests


def test_processes_come_to_what_one_process_comes_to(tmp_path):
    plan = loaded(tmp_path, SWEPT)
    alone, beside = run(plan), run(plan, jobs=2)
    assert [facts(found) for found in alone.runs] == [facts(found) for found in beside.runs]


def test_a_price_makes_costs(tmp_path):
    plan = loaded(tmp_path, SMALL, "pool.price_per_gpu_hour=2")
    found = run_point(plan.points[0], 1, plan.folder).whole
    assert found.cost == pytest.approx(found.gpu_seconds / 3600 * 2)


class Broken:
    """A policy of somebody's own."""

    def wish(self, now: float, seen: Seen) -> Wish:
        raise ZeroDivisionError(f"nobody at {now:g}")


def test_a_run_in_which_a_policy_fails_is_no_fair_measurement(tmp_path):
    policy = f"environments.code.autoscaling.policy={__name__}:Broken"
    run = run_point(loaded(tmp_path, SMALL, policy).points[0], 1, tmp_path)
    assert not run.valid
    assert "Broken failed" in run.reason
    assert "nobody at 0" in run.reason
    assert run_point(loaded(tmp_path, SMALL).points[0], 1, tmp_path).valid


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_fails_names_its_point_its_seed_and_why(tmp_path, jobs):
    text = SWEPT.replace("{poisson: {rate: 2}}", "{trace: {file: absent.csv}}")
    with pytest.raises(RunError, match=r"scale_down_delay=\d+, seed \d: .*absent\.csv"):
        run(loaded(tmp_path, text), jobs=jobs)


def test_a_process_that_is_killed_is_named_as_such(tmp_path, monkeypatch):
    (tmp_path / "dying_policy.py").write_text(DYING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    policy = f"{{name: dying_policy:Dying, pid: {os.getpid()}}}"
    plan = loaded(tmp_path, SWEPT, f"environments.code.autoscaling.policy={policy}")
    with pytest.raises(RunError, match="its process ended before it did"):
        run(plan, jobs=2)


def test_what_goes_wrong_with_progress_calls_the_other_runs_off(tmp_path):
    def fails(_: Progress) -> NoReturn:
        raise KeyboardInterrupt

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run(loaded(tmp_path, SWEPT), jobs=2, on_progress=fails)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [child for child in left if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(tmp_path, number):
    (tmp_path / "endless_policy.py").write_text(ENDLESS, encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    policy = "defaults:\n  autoscaling: {policy: endless_policy:Endless}\n  service: 1\n"
    text = f"name: endless\nduration_seconds: 60\nseeds: [1, 2]\n{policy}"
    text += "environments:\n  code: {arrivals: {poisson: {rate: 2}}}\n"
    (tmp_path / "endless.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "script.py", "endless.yaml"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE) as parent:
        own = psutil.Process(parent.pid)
        workers: list[psutil.Process] = []
        try:
            while sum(worker.cpu_times().user > 2 for worker in workers) < 2:
                workers = own.children(recursive=True)
                assert parent.poll() is None
                psutil.wait_procs(workers, timeout=0.2)
            parent.send_signal(number)
            _, alive = psutil.wait_procs([own, *workers], timeout=60)
            assert not alive
        finally:
            for process in (own, *workers):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def test_traces_are_looked_through_once_each(tmp_path):
    rows = "".join(f"{at},{at % 5}\n" for at in range(100))
    (tmp_path / "table.csv").write_text(f"at,tokens\n{rows}", encoding="utf-8")
    text = SWEPT.replace(
        "{poisson: {rate: 2}}", "{trace: {file: table.csv, format: table, columns: {at: at}}}"
    )
    [(name, survey)] = surveys(loaded(tmp_path, text))
    assert (name, survey.requests, survey.complete) == ("code", 60, True)


def test_a_trace_that_is_missing_is_told_before_anything_runs(tmp_path):
    text = SMALL.replace("{poisson: {rate: 2}}", "{trace: {file: absent.csv}}")
    with pytest.raises(TrafficError, match=r"absent\.csv"):
        list(surveys(loaded(tmp_path, text)))


def test_an_error_crosses_between_processes_as_it_is():
    error = RunError("short", 3, "why")
    assert str(error) == "short, seed 3: why"
    again = type(error)(*error.args)
    assert (again.label, again.seed, again.why) == ("short", 3, "why")


def test_a_failure_without_words_is_named_by_its_kind(tmp_path, monkeypatch):
    def fails(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(running, "simulate", fails)
    with pytest.raises(RunError, match="small, seed 1: MemoryError"):
        run(loaded(tmp_path, SMALL))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_first_and_last_points_of_a_shipped_file_run(path, monkeypatch):
    datasets = re.findall(r"dataset:([\w-]+)", path.read_text(encoding="utf-8"))
    for dataset in datasets:
        recorded.trace(TRACES[dataset])
    monkeypatch.setenv("ORCHESTRATOR_TRACES", str(recorded.folder()))
    plan = load(path, ["duration_seconds=200", "measure_from_seconds=0"])
    for point in {point.label: point for point in (plan.points[0], plan.points[-1])}.values():
        found = run_point(point, plan.seeds[0], plan.folder).whole
        assert found.requests > 10
        assert found.outcomes["answered"] > 0.5 * found.requests
