"""The machines themselves: links that are cut are, and nothing of them is left."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cluster import processes
from tests.nodes.cluster import EAST, HEAD, WEST
from tests.nodes.namespaces import Machine, Network, remove_leftovers

SOON_S = 0.5
PATIENCE_S = 10.0

LISTEN = """
import socket, sys
with socket.create_server(("0.0.0.0", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        server.accept()[0].close()
"""
CONNECT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
"""
BUILD_AND_DIE = """
import os, signal
from tests.nodes.namespaces import Network
machine = Network.build("x").machines["x"]
print(machine.space, flush=True)
os.execv("/bin/sh", ["sh", "-c", " ".join(machine.command("sleep", "60")) + " & kill -9 $$"])
"""


@contextmanager
def listening(machine: Machine) -> Iterator[int]:
    """A port of the machine that takes connections."""
    command = machine.command(sys.executable, "-I", "-S", "-c", LISTEN)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def reaches(machine: Machine, other: Machine, port: int, seconds: float) -> bool:
    arguments = (other.address, str(port), str(seconds))
    command = machine.command(sys.executable, "-I", "-S", "-c", CONNECT, *arguments)
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def is_reached(machine: Machine, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((machine.address, port), seconds).close()
    except OSError:
        return False
    return True


def test_a_machine_whose_link_is_cut_is_not_reached_until_it_is_mended(network: Network) -> None:
    machine = network.machines[WEST]
    with listening(machine) as port:
        assert is_reached(machine, port, PATIENCE_S)
        network.cut(WEST)
        try:
            assert not is_reached(machine, port, SOON_S)
        finally:
            network.mend(WEST)
        assert is_reached(machine, port, PATIENCE_S)


def test_two_machines_are_cut_off_from_each_other_and_from_nobody_else(network: Network) -> None:
    east, west = network.machines[EAST], network.machines[WEST]
    with listening(west) as port:
        assert reaches(east, west, port, PATIENCE_S)
        network.cut_between(EAST, WEST)
        try:
            assert not reaches(east, west, port, SOON_S)
            assert reaches(network.machines[HEAD], west, port, PATIENCE_S)
            assert is_reached(west, port, PATIENCE_S)
        finally:
            network.mend_between(EAST, WEST)
        assert reaches(east, west, port, PATIENCE_S)


def test_what_a_killed_run_left_is_removed_by_the_next(network: Network) -> None:
    dead = subprocess.Popen([sys.executable, "-c", BUILD_AND_DIE], stdout=subprocess.PIPE)
    with dead:
        assert dead.stdout is not None
        space = dead.stdout.readline().decode().strip()
        assert dead.wait(PATIENCE_S) == -signal.SIGKILL
    left = Machine("x", space, "", "").processes()
    assert left, "there is nothing to remove: the test shows nothing"

    remove_leftovers()

    assert not Path(f"/run/netns/{space}").exists()
    assert not {process for process in left if processes.alive(process)}
    assert not Path(f"/sys/class/net/orchbr{dead.pid}").exists()
    for machine in network.machines.values():
        assert Path(f"/run/netns/{machine.space}").exists(), "a living run's was removed, too"
