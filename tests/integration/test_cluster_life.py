"""Local clusters with real Ray: they start, change and end without touching anything else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from orchestrator.cluster import local, processes, records
from orchestrator.cluster.local import ClusterPlan
from orchestrator.cluster.machine import require_free_port
from orchestrator.cluster.records import ClusterError, ClusterRecord
from tests.integration.stand_in_app import serve_config
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

FOREIGN_RAY = """
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
@ray.remote
def double(x):
    return 2 * x
for line in sys.stdin:
    print(ray.get(double.remote(int(line))), flush=True)
ray.shutdown()
"""

START_AND_STAY = """
import signal, sys, msgspec
from orchestrator.cluster import local
# A shell starts what runs in its background with SIGINT ignored, the tests included.
signal.signal(signal.SIGINT, signal.default_int_handler)
plan = msgspec.json.decode(sys.stdin.readline(), type=local.ClusterPlan)
print(local.start(plan, detach=False).supervisor.pid, flush=True)
signal.pause()
"""


def a_plan(name: str, **options: Any) -> ClusterPlan:
    port = free_port()
    return ClusterPlan(
        name=name,
        host="127.0.0.1",
        port=port,
        config_path=f"/{name}.yaml",
        serve=serve_config(port, **options),
        fixed={"cluster.port": port, "cluster.gpus": None},
        cpus=2,
    )


def ask(record: ClusterRecord) -> dict[str, Any]:
    with urllib.request.urlopen(f"{record.url}/anything", timeout=10) as answer:
        said: dict[str, Any] = json.loads(answer.read())
        return said


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.05)


def everything_of(record: ClusterRecord) -> set[processes.ProcessId]:
    started = processes.descendants(record.supervisor.pid) | {record.supervisor}
    names = [" ".join(psutil.Process(process.pid).cmdline()) for process in started]
    assert any("haproxy" in name for name in names)
    assert any("raylet" in name for name in names)
    return started


def assert_nothing_left(record: ClusterRecord, started: set[processes.ProcessId]) -> None:
    assert not {process for process in started if processes.alive(process)}
    assert not processes.marked("ORCHESTRATOR_CLUSTER_TOKEN", record.token)
    assert not Path(record.run_directory).exists()
    assert records.read(record.name) is None


@pytest.fixture(scope="module", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_STATE_DIR", str(directory))
        patch.chdir(ROOT)
        yield directory
        for record in records.read_all():
            local.stop(record.name)


@pytest.fixture(scope="module")
def alpha() -> Iterator[tuple[ClusterPlan, ClusterRecord]]:
    plan = a_plan("alpha")
    record = local.start(plan, detach=True)
    yield plan, record
    if records.read("alpha") is not None:
        local.stop("alpha")


@pytest.fixture
def foreign_ray(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Somebody else's Ray: `ray.init` in a process that knows nothing of clusters."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-c", FOREIGN_RAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
    ) as process:
        assert double_there(process, 1) == 2
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def double_there(process: "subprocess.Popen[str]", number: int) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_a_second_cluster_of_the_same_name_is_refused(
    alpha: tuple[ClusterPlan, ClusterRecord],
) -> None:
    _, record = alpha
    with pytest.raises(ClusterError, match=f'"alpha" runs already at {record.url}'):
        local.start(a_plan("alpha"), detach=True)
    assert ask(record)["greeting"] == "hello"


def test_a_taken_port_is_refused_before_anything_starts(
    alpha: tuple[ClusterPlan, ClusterRecord],
) -> None:
    plan, _ = alpha
    late = msgspec.structs.replace(a_plan("late"), port=plan.port)
    with pytest.raises(ClusterError, match=rf"127.0.0.1:{plan.port}: .* by haproxy \(pid \d+\)"):
        local.start(late, detach=True)
    assert records.read("late") is None


def test_deploy_changes_settings_without_a_restart(
    alpha: tuple[ClusterPlan, ClusterRecord],
) -> None:
    plan, record = alpha
    before = ask(record)
    changed = serve_config(plan.port, greeting="good morning")
    local.deploy(msgspec.structs.replace(plan, serve=changed))
    eventually(lambda: ask(record)["greeting"] == "good morning")
    assert ask(record)["pid"] == before["pid"]
    local.deploy(plan)
    eventually(lambda: ask(record)["greeting"] == before["greeting"])


def test_deploy_refuses_what_only_a_restart_changes(
    alpha: tuple[ClusterPlan, ClusterRecord],
) -> None:
    plan, _ = alpha
    moved = msgspec.structs.replace(plan, fixed=plan.fixed | {"cluster.gpus": 4})
    with pytest.raises(ClusterError, match=r"cluster\.gpus: None -> 4"):
        local.deploy(moved)


def test_deploy_to_a_cluster_that_does_not_run_names_those_that_do(
    alpha: tuple[ClusterPlan, ClusterRecord],
) -> None:
    with pytest.raises(
        ClusterError, match=r'no cluster named "gamma" is running; running: .*alpha'
    ):
        local.deploy(a_plan("gamma"))


def test_ending_a_cluster_leaves_a_second_one_and_a_foreign_ray_alone(
    alpha: tuple[ClusterPlan, ClusterRecord], foreign_ray: "subprocess.Popen[str]"
) -> None:
    _, first = alpha
    second = local.start(a_plan("beta", child=True), detach=True)
    started = everything_of(second)
    child = processes.identify(ask(second)["child"])
    assert child in started
    local.stop("beta")
    assert_nothing_left(second, started)
    assert ask(first)["greeting"] == "hello"
    assert double_there(foreign_ray, 21) == 42


def test_what_a_killed_supervisor_leaves_is_ended_by_the_next_start() -> None:
    plan = a_plan("killed", child=True)
    record = local.start(plan, detach=True)
    started = everything_of(record)
    child = processes.identify(ask(record)["child"])
    assert child is not None
    eventually(lambda: child in records.read_processes("killed"))
    processes.send(record.supervisor, signal.SIGKILL)
    assert processes.wait_gone([record.supervisor], 10) == set()
    assert processes.alive(child), "there is nothing to clean up: the test shows nothing"

    again = local.start(plan, detach=True)
    assert again.token != record.token
    assert not {process for process in started if processes.alive(process)}
    assert ask(again)["pid"] != child.pid

    started = everything_of(again)
    processes.send(again.supervisor, signal.SIGKILL)
    assert processes.wait_gone([again.supervisor], 10) == set()
    local.stop("killed")
    assert_nothing_left(again, started)


def test_a_router_that_cannot_be_deployed_fails_the_start_and_leaves_nothing() -> None:
    plan = a_plan("broken", broken=True)
    with pytest.raises(ClusterError, match="broken on purpose"):
        local.start(plan, detach=True)
    assert records.read("broken") is None
    assert not processes.with_argument_below(records.run_directory_of("broken"))
    require_free_port("127.0.0.1", plan.port)


def test_a_cluster_in_the_foreground_ends_with_the_command_that_started_it() -> None:
    plan = a_plan("foreground")
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_STAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        command.stdin.write(msgspec.json.encode(plan) + b"\n")
        command.stdin.flush()
        assert int(command.stdout.readline()) > 0
        record = local.select("foreground")
        started = everything_of(record)
        command.kill()
    assert processes.wait_gone(started, 60) == set()
    local.stop("foreground")
    assert_nothing_left(record, started)


def test_a_start_that_is_interrupted_leaves_nothing() -> None:
    plan = a_plan("interrupted")
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_STAY], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as command:
        assert command.stdin is not None
        command.stdin.write(msgspec.json.encode(plan) + b"\n")
        command.stdin.flush()
        eventually(lambda: bool(records.read_processes("interrupted")))
        record = local.select("interrupted")
        command.send_signal(signal.SIGINT)
        try:
            command.wait(90)
        finally:
            command.kill()
    assert_nothing_left(record, {record.supervisor})
