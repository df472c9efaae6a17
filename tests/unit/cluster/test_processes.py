"""A process is only ever ended when it is the very one that was meant."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cluster import processes
from orchestrator.cluster.processes import ProcessId

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def spawn() -> Iterator["Spawn"]:
    spawn = Spawn()
    yield spawn
    for process in spawn.started:
        process.kill()
        process.communicate()


class Spawn:
    """Starts Python programs that say when they are ready, and then wait."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, code: str = "", *arguments: str, **environment: str) -> ProcessId:
        program = f"import signal\n{code}\nprint('ready', flush=True)\nwhile True: signal.pause()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        identity = processes.identify(process.pid)
        assert identity is not None
        return identity


def test_a_later_process_with_the_same_pid_is_another_one(spawn: Spawn) -> None:
    process = spawn()
    earlier = ProcessId(process.pid, process.started_ticks - 1)
    assert not processes.alive(earlier)
    assert not processes.send(earlier, signal.SIGKILL)
    assert processes.end([earlier], grace_seconds=0) == set()
    assert processes.alive(process)


def test_a_process_that_ended_but_was_not_collected_counts_as_gone(spawn: Spawn) -> None:
    process = spawn()
    assert processes.end([process], grace_seconds=5) == set()
    assert Path(f"/proc/{process.pid}").exists()
    assert not processes.alive(process)
    processes.reap_zombies()
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(spawn: Spawn) -> None:
    polite, stubborn = spawn(), spawn(STUBBORN)
    assert processes.end([polite, stubborn], grace_seconds=0.2) == set()
    assert not processes.alive(stubborn)


def test_a_process_is_found_by_the_environment_it_was_started_with(spawn: Spawn) -> None:
    mine, other = spawn(TOKEN="abc"), spawn(TOKEN="abcd")
    assert processes.marked("TOKEN", "abc") == {mine}
    assert processes.alive(other)


def test_a_process_is_found_by_a_path_inside_a_directory_only(spawn: Spawn, tmp_path: Path) -> None:
    inside = spawn("", str(tmp_path / "a" / "haproxy.cfg"))
    spawn("", str(tmp_path / "ab" / "haproxy.cfg"))
    assert processes.with_argument_below(tmp_path / "a") == {inside}


def test_an_orphan_stays_below_the_process_that_adopts_orphans(spawn: Spawn) -> None:
    child = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], "
        "start_new_session=True, env={})"
    )
    adopter = spawn(
        "import subprocess, sys\n"
        "from orchestrator.cluster import processes\n"
        "processes.adopt_orphans()\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    (orphan,) = processes.descendants_of(adopter)
    assert processes.end([orphan, adopter], grace_seconds=5) == set()


def test_a_process_tied_to_its_parent_ends_with_it(spawn: Spawn) -> None:
    parent = spawn(
        "import os, subprocess, sys\n"
        "code = 'import sys, signal; from orchestrator.cluster import processes; '\n"
        "code += 'processes.end_with_parent(int(sys.argv[1])); print(1, flush=True); '\n"
        "code += 'signal.pause()'\n"
        "child = subprocess.Popen([sys.executable, '-c', code, str(os.getpid())],\n"
        "                         stdout=subprocess.PIPE)\n"
        "child.stdout.readline()"
    )
    (child,) = processes.descendants_of(parent)
    processes.send(parent, signal.SIGKILL)
    assert processes.wait_gone([child], 10) == set()


def test_a_process_whose_parent_was_gone_already_ends_too() -> None:
    code = "from orchestrator.cluster import processes; processes.end_with_parent(-1)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGTERM
