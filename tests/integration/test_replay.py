"""Recorded requests, replayed against the cluster by the command."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.reports.report import LIVE, RunReport, load
from tests.integration.running_cluster import Finished, RunningCluster

EXPERIMENT = """\
name: replayed
environments:
  work:
    arrivals:
      trace:
        file: trace.csv
        format: table
        columns: {at: at, asynchronous: later, deadline_seconds: patience}
    service: {fixed: 0.01}
    concurrency: 2
    callers: {retries: 1, retry_after_seconds: 0.1}
    target: {body: {label: "of $prompt_tokens tokens"}}
"""

SYNC, LATER = 20, 4


def recorded(folder: Path, rows: Sequence[str]) -> Path:
    """An experiment on these rows."""
    (folder / "trace.csv").write_text("\n".join(["at,later,patience", *rows, ""]))
    path = folder / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


async def replay(cluster: RunningCluster, path: Path) -> tuple[Finished, RunReport]:
    out = path.parent / "live.json"
    done = await cluster.command("replay", str(path), "--target", cluster.url, "--out", str(out))
    assert out.exists(), done.errors
    [run] = load(out).runs
    # These tests may run beside others: then requests are sent late, and the run says so.
    assert run.valid or run.reason.startswith("1 % of the requests were sent"), run.reason
    return done, run


async def test_a_trace_wakes_a_sleeping_model_and_its_report_tells_the_whole_story(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    await cluster.until_zero("work")
    later = [f"{number / 10},true," for number in range(LATER)]
    rows = [*later, *(f"{1 + number / 10},false," for number in range(SYNC))]
    done, run = await replay(cluster, recorded(tmp_path, rows))
    assert "note: work/production: autoscaling.max_replica is 3 there and 1 here" in done.errors
    found = run.environments["work"]
    assert run.kind == LIVE
    assert found.outcomes == {"answered": SYNC + LATER}
    assert (found.arrived, found.asynchronous) == (SYNC + LATER, LATER)
    # The first ones waited for the start, and those for later are told of by their runs.
    assert found.cold >= LATER
    assert found.starts.count >= 1
    assert found.starts.kept[0].stages.keys() >= {"PROVISIONING", "STARTING", "LOADING"}
    assert found.wait.max >= sum(found.starts.kept[0].stages.values()) / 2
    assert found.replica_seconds["READY"] > 0
    assert found.gpu_seconds > 0
    assert [each.before for each in found.decisions.kept][:1] == [0]
    assert found.peaks.waiting >= 1
    assert run.pool.peak >= 1


async def test_recorded_deadlines_are_the_callers(cluster: RunningCluster, tmp_path: Path) -> None:
    await cluster.until_zero("work")
    # Nobody starts within a tenth of a second: it gives up in the line.
    _, run = await replay(cluster, recorded(tmp_path, ["0,false,0.1", "0.01,false,"]))
    assert run.whole.outcomes == {"evicted_deadline": 1, "answered": 1}


async def test_a_model_that_the_cluster_does_not_have_is_refused(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    path = recorded(tmp_path, ["0,false,"])
    path.write_text(path.read_text().replace("  work:", "  wrok:"))
    done = await cluster.command("replay", str(path), "--target", cluster.url)
    assert done.status == 2
    assert "wrok/production is not there" in done.errors
