"""No process of a system under test outlives it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.processes import MARK_VARIABLE, ProcessGroup

# Starts a child in a session of its own (as a daemon does), says its id, and waits for ever.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
    start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
if sys.argv[1] == "stays":
    signal.pause()
"""


@pytest.fixture
def group(tmp_path):
    made = ProcessGroup("test", tmp_path / "log", grace_s=0.1)
    yield made
    made.end(patience_s=1)


def start(group: ProcessGroup, fate: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the parent; returns its id, and its child's once it has said it."""
    read, write = os.pipe()
    # The pipe is given by way of /proc, because a group redirects the standard output.
    code = (
        f"import os; os.dup2(os.open('/proc/{os.getpid()}/fd/{write}', os.O_WRONLY), 1)\n{PARENT}"
    )
    parent = group.start([sys.executable, "-c", code, fate], environment={}, folder=Path.cwd())
    with os.fdopen(read) as lines:
        child = int(lines.readline())
    os.close(write)
    return parent, child


def test_child_in_a_session_of_its_own_ends_with_the_group(group):
    parent, child = start(group, "stays")
    assert {process.pid for process in group.members()} == {parent.pid, child}

    assert child in group.end(patience_s=5)
    assert group.members() == set()


def test_child_whose_parent_has_left_is_still_found(group):
    parent, child = start(group, "leaves")
    parent.wait(timeout=10)

    assert {process.pid for process in group.members()} == {child}
    assert group.end(patience_s=1) == [child]
    assert group.members() == set()


def test_processes_of_another_group_are_left_alone(group, tmp_path):
    other = ProcessGroup("other", tmp_path / "other-log", grace_s=0.1)
    parent, child = start(other, "stays")

    group.end(patience_s=1)

    assert {process.pid for process in other.members()} == {parent.pid, child}
    other.end(patience_s=5)


def test_settings_of_ray_in_the_callers_shell_do_not_reach_a_system(group, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")

    environment = group.environment({"RAY_USAGE_STATS_ENABLED": "0"})

    assert [name for name in environment if name.startswith("RAY_")] == ["RAY_USAGE_STATS_ENABLED"]
    assert MARK_VARIABLE in environment
