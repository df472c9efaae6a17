from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicas.children import KEPT_LINES, Child, LogTail, describe_exit
from tests.unit.replicas.processes import has_ended

OWNER = """
import asyncio, os, sys
from replicas.children import Child

async def main():
    script = "import os, subprocess, sys, time;" \
        "g = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']," \
        " start_new_session=True);" \
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {g.pid}');" \
        "time.sleep(600)"
    child = await Child.start(
        [sys.executable, "-I", "-S", "-c", script, sys.argv[1]],
        environment=os.environ,
    )
    print(child.guardian_pid, flush=True)
    await child.wait()

asyncio.run(main())
"""


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """A pipe with a name; whoever reads it waits for what a process has to say."""
    pipe = tmp_path / "said"
    os.mkfifo(pipe)
    return pipe


async def test_nothing_outlives_an_owner_that_is_killed(said):
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(said)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert owner.stdout is not None
    guardian = int(await owner.stdout.readline())
    child, grandchild = map(int, (await asyncio.to_thread(said.read_text)).split())
    assert os.getsid(grandchild) == grandchild  # it got away from its process group
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    for pid in (child, grandchild, guardian):
        assert await has_ended(pid)


@pytest.mark.parametrize("ended_by", [None, signal.SIGTERM, signal.SIGUSR1])
async def test_a_child_s_own_folder_goes_with_it(said, tmp_path, ended_by):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "config").write_text("x")
    os.mkfifo(scratch / "pipe")
    wait = "" if ended_by is None else "; exec sleep 60"
    script = f"echo up > {said}{wait}"
    child = await Child.start(["/bin/sh", "-c", script], environment={}, scratch=scratch)
    await asyncio.to_thread(said.read_text)
    if ended_by is not None:
        os.kill(child.guardian_pid, ended_by)
    await child.wait()
    assert not scratch.exists()


async def test_a_child_inherits_the_descriptors_it_is_given_and_no_others():
    readable, writable = os.pipe()
    other = os.dup(readable)
    os.set_inheritable(other, True)
    script = f"echo said > /proc/$$/fd/{writable}; ls /proc/$$/fd"
    child = await Child.start(
        ["/bin/sh", "-c", script], environment=os.environ, inherited=[writable]
    )
    assert await child.wait() == 0
    assert os.read(readable, 10) == b"said\n"
    assert str(writable) in child.log_tail
    assert str(other) not in child.log_tail
    for descriptor in (readable, writable, other):
        os.close(descriptor)


async def test_a_child_gets_exactly_the_environment_it_is_given():
    child = await Child.start(["/usr/bin/env"], environment={"LC_ALL": "C", "ONLY": "this"})
    assert await child.wait() == 0
    assert child.log_tail == ("LC_ALL=C", "ONLY=this")


async def test_a_missing_program_is_exit_status_127():
    child = await Child.start(["no-such-program"], environment={"PATH": "/usr/bin"})
    assert await child.wait() == 127
    assert child.log_tail == ("no-such-program: No such file or directory",)


async def test_sigterm_is_passed_on_so_that_a_child_can_end_well(said):
    script = f"trap 'echo bye; exit 5' TERM; echo up > {said}; while :; do sleep 0.01; done"
    child = await Child.start(["/bin/sh", "-c", script], environment=os.environ)
    assert await asyncio.to_thread(said.read_text) == "up\n"
    assert await child.stop(grace_s=10) == 5
    assert child.log_tail == ("bye",)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit status 0"),
        (3, "ended with exit status 3"),
        (137, "was killed by SIGKILL"),
        (-9, "was killed by SIGKILL"),
        (255, "ended with exit status 255"),
    ],
)
def test_an_exit_status_in_words(status, words):
    assert describe_exit(status) == words


@given(
    lines=st.lists(st.text("ab é", min_size=1).filter(str.strip), max_size=2 * KEPT_LINES),
    cuts=st.lists(st.integers(0, 2000)),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_log_tail_has_the_last_lines_however_the_output_is_cut(lines, cuts, ending):
    output = "".join(line + ending for line in lines).encode()
    places = sorted({0, len(output), *(cut for cut in cuts if cut < len(output))})
    tail = LogTail()
    completed = [line for a, b in pairwise(places) for line in tail.feed(output[a:b])]
    assert completed == lines
    assert tail.lines == tuple(lines[-KEPT_LINES:])


def test_a_log_tail_shows_a_line_that_has_not_ended():
    tail = LogTail(kept_lines=2)
    assert tail.feed(b"a\nb\nloading 10%\rloading 20%") == ["a", "b", "loading 10%"]
    assert tail.lines == ("loading 10%", "loading 20%")


def test_a_line_without_end_is_cut():
    tail = LogTail()
    assert [len(line) for line in tail.feed(b"x" * 10_000)] == [4096]
