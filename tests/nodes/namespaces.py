"""Machines that are network namespaces of this one, on one bridge.

    root namespace   bridge, <net>.1      callers, the store, gates
    machine a        <net>.11             eth0, loopback, a default route
    machine b        <net>.12             …

<net> is one of 10.213.0.0/24 … 10.213.255.0/24. Processes, files and users are this
machine's: only the network is apart. A cut link loses packets and tells nobody, as a
cable or a switch that fails; whoever waits for an answer goes on waiting.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator.cluster import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.cluster.processes import ProcessId

INTERFACE = "eth0"
NOWHERE = "02:00:00:00:00:01"
"""A link-layer address that nobody has: what is sent there is lost."""

_SPACE = "orchestrator"
_BRIDGE = "orchbr"
_PORT = "orchp"
_NETWORK = "10.213"
_FIRST_HOST = 11
_COMMAND_S = 10.0
_END_S = 5.0
_ADMINISTRATION = ("/usr/sbin", "/sbin")
"""Where `ip` and `bridge` are, which may not be on a user's PATH."""


class NotPermitted(Exception):  # noqa: N818  # a fact about this machine
    """No namespaces can be had here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """One namespace.

    Attributes:
        name: short, unique in its network.
        space: its namespace.
        address: on the bridge.
        port: its end of the cable that is plugged into the bridge.
    """

    name: str
    space: str
    address: str
    port: str

    def command(self, *arguments: str) -> tuple[str, ...]:
        """A command that runs `arguments` here."""
        return (_program("ip"), "netns", "exec", self.space, *arguments)

    def processes(self) -> list[ProcessId]:
        """Everything that runs here, by pid."""
        found = (processes.identify(int(pid)) for pid in _ip("netns", "pids", self.space).split())
        return [process for process in found if process is not None]

    def has(self, pid: int) -> bool:
        """Whether a process runs here."""
        try:
            of_process = Path(f"/proc/{pid}/ns/net").stat().st_ino
        except FileNotFoundError:
            return False
        return of_process == Path(f"/run/netns/{self.space}").stat().st_ino


class Network:
    """Machines by name, from `build` to `remove`.

    Attributes:
        gateway: the bridge's own address, which is the root namespace's.
        machines: by name.
    """

    def __init__(self, number: int, names: Iterable[str]) -> None:
        """Nothing is made yet.

        Args:
            number: of the network, 0 to 255.
            names: of its machines, a few letters each.
        """
        pid = os.getpid()
        self.gateway = f"{_NETWORK}.{number}.1"
        self._bridge = f"{_BRIDGE}{pid}"
        self.machines = {
            name: Machine(
                name=name,
                space=f"{_SPACE}-{pid}-{name}",
                address=f"{_NETWORK}.{number}.{_FIRST_HOST + place}",
                port=f"{_PORT}{pid}{name}",
            )
            for place, name in enumerate(names)
        }

    @classmethod
    def build(cls, *names: str) -> Self:
        """A network of machines that reach each other and this one.

        What runs of the tests that were killed have left is removed first.

        Args:
            names: of the machines, a few letters each.

        Raises:
            NotPermitted: this machine does not let us.
        """
        network: Self | None = None
        try:
            remove_leftovers()
            network = cls(_free_number(), names)
            network.remove()  # one with this very pid may have been before us
            network._make()
        except (OSError, subprocess.CalledProcessError) as error:
            if network is not None:
                network.remove()
            raise NotPermitted(_reason(error)) from None
        return network

    def remove(self) -> None:
        """Ends what still runs on its machines, and takes them down."""
        _remove(self._bridge, [machine.space for machine in self.machines.values()])

    # Links

    def cut(self, name: str) -> None:
        """Loses whatever a machine sends or is sent."""
        _run("bridge", "link", "set", "dev", self.machines[name].port, "state", "disabled")

    def mend(self, name: str) -> None:
        """Ends `cut`."""
        _run("bridge", "link", "set", "dev", self.machines[name].port, "state", "forwarding")

    def cut_between(self, one: str, other: str) -> None:
        """Loses what two machines send each other; both reach all others."""
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, there, "replace", "lladdr", NOWHERE, "nud", "permanent")

    def mend_between(self, one: str, other: str) -> None:
        """Ends `cut_between`."""
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, there, "del")

    def _neighbour(self, here: str, there: str, action: str, *options: str) -> None:
        address = self.machines[there].address
        space = self.machines[here].space
        _ip("-n", space, "neigh", action, address, *options, "dev", INTERFACE)

    # Processes

    def where(self, pid: int) -> str:
        """Name of the machine that a process runs on."""
        return next(name for name, machine in self.machines.items() if machine.has(pid))

    # Making it

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self.gateway}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for machine in self.machines.values():
            self._plug_in(machine)

    def _plug_in(self, machine: Machine) -> None:
        _ip("netns", "add", machine.space)
        cable = ("type", "veth", "peer", "name", INTERFACE, "netns", machine.space)
        _ip("link", "add", machine.port, *cable)
        _ip("link", "set", machine.port, "master", self._bridge, "up")
        _ip("-n", machine.space, "link", "set", "lo", "up")
        _ip("-n", machine.space, "address", "add", f"{machine.address}/24", "dev", INTERFACE)
        _ip("-n", machine.space, "link", "set", INTERFACE, "up")
        # Leads nowhere, as nothing here forwards; programs find their own address by it.
        _ip("-n", machine.space, "route", "add", "default", "via", self.gateway)


def _free_number() -> int:
    """The number of a network that nothing on this machine uses, by preference our pid's."""
    described: list[dict[str, Any]] = json.loads(_ip("-json", "address", "show"))
    taken = {each["local"] for one in described for each in one.get("addr_info", ())}
    first = os.getpid() % 256
    for step in range(256):
        number = (first + step) % 256
        if not any(address.startswith(f"{_NETWORK}.{number}.") for address in taken):
            return number
    raise OSError(f"all networks of {_NETWORK}.0.0/16 are in use")


def remove_leftovers() -> None:
    """Removes what runs of the tests have left whose process is gone."""
    links: list[dict[str, Any]] = json.loads(_ip("-json", "link", "show", "type", "bridge") or "[]")
    bridges = [link["ifname"] for link in links if link.get("ifname", "").startswith(_BRIDGE)]
    listed = json.loads(_ip("-json", "netns", "list") or "[]")
    spaces = [space["name"] for space in listed if space["name"].startswith(f"{_SPACE}-")]
    pids = {int(bridge.removeprefix(_BRIDGE)) for bridge in bridges}
    pids |= {int(space.split("-")[1]) for space in spaces}
    for pid in pids:
        if processes.identify(pid) is None:
            own = [space for space in spaces if space.startswith(f"{_SPACE}-{pid}-")]
            _remove(f"{_BRIDGE}{pid}", own)


def _remove(bridge: str, spaces: Iterable[str]) -> None:
    """Removes those of them that exist, the processes of the namespaces first."""
    for space in spaces:
        if not Path(f"/run/netns/{space}").exists():
            continue
        found = [processes.identify(int(pid)) for pid in _ip("netns", "pids", space).split()]
        left = [process for process in found if process is not None]
        for process in left:
            processes.send(process, signal.SIGKILL)
        processes.wait_gone(left, _END_S)
        _ip("netns", "delete", space)
    if Path(f"/sys/class/net/{bridge}").exists():
        _ip("link", "delete", bridge)
    # A machine's cable goes with its namespace, which the kernel takes down by and by.
    deadline = time.monotonic() + _END_S
    while _ports_of(bridge) and time.monotonic() < deadline:
        time.sleep(0.01)


def _ports_of(bridge: str) -> list[str]:
    prefix = f"{_PORT}{bridge.removeprefix(_BRIDGE)}"
    return [path.name for path in Path("/sys/class/net").glob(f"{prefix}*")]


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(program: str, *arguments: str) -> str:
    """What it prints; raises CalledProcessError where it fails, with what it said."""
    done = subprocess.run(
        [_program(program), *arguments],
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=True,
    )
    return done.stdout


def _program(name: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMINISTRATION))
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"there is no program `{name}` (iproute2)")
    return found


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"`{' '.join(map(str, error.cmd))}`: {str(error.stderr).strip()}"
    return str(error)
