"""A Ray cluster as a machine that is a node of it reaches it: at its GCS address.

Ray itself is imported only in the driver's process: it reads its settings then, and
cannot be told to give up.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.cluster import applications
from orchestrator.cluster.membership import Node
from orchestrator.cluster.records import ClusterError
from orchestrator.config.cluster import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cluster.applications import Details
    from orchestrator.cluster.records import ClusterRecord

_CONNECT_SECONDS: Final = 5.0
_ASK_SECONDS: Final = 60.0
_FOREIGN: Final = frozenset({"RAY_ADDRESS", "RAY_AUTH_TOKEN"})
"""Variables that would lead to somebody else's Ray."""

_CLUSTER_VARIABLE: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_PACKAGE_FOLDER: Final = str(Path(__file__).parents[2])


class Member:
    """A Ray cluster that is reached at its GCS address, through a driver's process."""

    def __init__(self, address: str, env: Mapping[str, str]) -> None:
        """Asks nothing yet.

        Args:
            address: `host:port`, or `auto`, which is the cluster of this machine.
            env: the environment for processes that talk to it.

        Raises:
            ClusterError: nothing says which cluster is that of this machine.
        """
        self.where = _of_this_machine(env) if address == "auto" else address
        # A source tree is found through the working directory, which the driver leaves.
        source = "" if Path(_PACKAGE_FOLDER).name == "site-packages" else _PACKAGE_FOLDER
        search = filter(None, [source, env.get("PYTHONPATH")])
        self._env = {**env, "PYTHONPATH": os.pathsep.join(search)}

    def details(self) -> Details:
        """What Serve runs."""
        return applications.read(self._joined("details"))

    def apply(self, serve: dict[str, Any]) -> None:
        """Hand Serve a config; it is started where it does not run."""
        self._joined("apply", serve)

    def nodes(self) -> list[Node]:
        """Its nodes, the head first."""
        found: list[Node] = self.ask("nodes", kind=list[Node])
        return found

    def survey(self, question: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What each node answers to `node_survey.look`, by its id."""
        found: dict[str, dict[str, Any]] = self._joined("survey", question)
        return found

    def _joined(self, command: str, given: object = None) -> Any:
        """What the driver answers to a command for which it joins the cluster."""
        if _CLUSTER_VARIABLE not in self._env and is_loopback(self.nodes()[0].address):
            # Else Ray takes another address of this machine for that of its node.
            self._env[_CLUSTER_VARIABLE] = "0"
        return self.ask(command, given)

    def ask(
        self, command: str, given: object = None, *, kind: Any = Any, seconds: float = _ASK_SECONDS
    ) -> Any:
        """What the driver answers to one of its commands, read as a `kind`.

        Raises:
            ClusterError: it failed, or did not answer in time.
        """
        self._require_listener()
        said = drive(
            [self.where, command],
            given,
            # Ray adds a driver's folder to where all nodes look for modules.
            cwd="/",
            env=self._env,
            seconds=seconds,
            late=f"the Ray cluster at {self.where} did not answer",
            failed=f"the Ray cluster at {self.where}",
        )
        return msgspec.json.decode(said.strip().splitlines()[-1], type=kind)

    def _require_listener(self) -> None:
        """Ray tries for half a minute where nothing listens; say it at once."""
        host, _, port = self.where.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except OSError as error:
            raise ClusterError(f"no Ray cluster answers at {self.where}: {error}") from error


def drive(
    arguments: Sequence[str],
    given: object,
    *,
    env: Mapping[str, str],
    seconds: float,
    late: str,
    failed: str,
    cwd: str | None = None,
) -> bytes:
    """What the driver writes, in a process of its own, when it is given something as JSON.

    Args:
        arguments: the cluster's GCS address, and the command.
        given: what it reads.
        env: of its process.
        seconds: how long it may take.
        late: how the sentence begins that says that it took longer.
        failed: how the one begins that says why it failed.
        cwd: where it runs; None: here.

    Raises:
        ClusterError: it failed, or took longer.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "orchestrator.cluster.driver", *arguments],
            cwd=cwd,
            env=env,
            input=msgspec.json.encode(given),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{late} within {seconds:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ClusterError(f"{failed}: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout


def of_record(record: ClusterRecord, env: Mapping[str, str]) -> Member:
    """The cluster that a record is about.

    Raises:
        ClusterError: it has not come so far that it could be asked.
    """
    if record.gcs_address is None:
        raise ClusterError(f'cluster "{record.name}" is still being started')
    own = {name: value for name, value in env.items() if name not in _FOREIGN}
    return Member(record.gcs_address, own | record.settings)


def _of_this_machine(env: Mapping[str, str]) -> str:
    """The GCS address that Ray's own commands take: `RAY_ADDRESS`, or what `ray start` noted."""
    folder = env.get("RAY_TMPDIR") or env.get("TMPDIR") or "/tmp"  # noqa: S108  # as Ray does
    note = Path(folder) / "ray" / "ray_current_cluster"
    address = env.get("RAY_ADDRESS", "")
    if not address and note.is_file():
        address = note.read_text(encoding="utf-8").strip()
    if not is_gcs_address(address):
        found = f"RAY_ADDRESS is {address!r}" if address else "RAY_ADDRESS is not set"
        raise ClusterError(
            f"no Ray cluster of this machine is known ({found}): say its GCS address (head:6379)"
        )
    return address


def is_gcs_address(text: str) -> bool:
    """Whether it is `host:port`."""
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal() and "/" not in text)
