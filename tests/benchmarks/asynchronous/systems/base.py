"""What every system under test is to the suite."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from orchestrator.store.embedded import EmbeddedServer, EmbeddedServerError
from tests.benchmarks.asynchronous.metrics import Amounts, Figure
from tests.benchmarks.peers.base import PROJECT, PeerError
from tests.benchmarks.processes import ProcessGroup

# On the project's disk, because the folder for temporary files may be memory, where syncing
# costs nothing.
STORES = PROJECT / ".bench" / "stores"
STEP_PATIENCE_S = 180.0
POLL_S = 0.05


class System(ABC):
    """One system under test. ``visit`` starts it and measures, ``stop`` leaves nothing of it."""

    name: ClassVar[str]
    label: ClassVar[str]
    stop_patience_s: ClassVar[float] = 15.0

    def __init__(self, logs: Path) -> None:
        self.processes = ProcessGroup(self.name, logs / f"async-{self.name}.log")
        self._resources = contextlib.ExitStack()

    def prepare(self) -> None:
        """Install or check what it needs; raises ``PeerError``."""
        return

    @abstractmethod
    def version(self) -> str:
        """Version of the software under test."""

    @abstractmethod
    def visit(self, amounts: Amounts) -> Iterator[Figure]:
        """Start it and give one figure after the other; raises ``PeerError``."""

    def stop(self) -> list[int]:
        """End all of its processes; returns the ids of those that had to be killed."""
        try:
            return self.processes.end(self.stop_patience_s)
        finally:
            # The stores after those who use them.
            self._resources.close()

    def new_store(self) -> EmbeddedServer:
        """A store that answers, with nothing in it; it ends with ``stop``."""
        # Two folders, because paths of sockets are short and data belongs on a disk.
        socket_folder = self.new_folder()
        data = STORES / socket_folder.name
        self._resources.callback(shutil.rmtree, data, ignore_errors=True)
        store = EmbeddedServer(data, socket_folder / "s")
        self._resources.callback(store.end)
        try:
            store.start()
        except EmbeddedServerError as error:
            raise PeerError(str(error)) from error
        return store

    def new_folder(self) -> Path:
        """A temporary folder with a short path; it goes with ``stop``."""
        folder = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        return Path(self._resources.enter_context(folder))

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in the project's folder as part of this system."""
        return self.processes.start(command, environment=environment or {}, folder=PROJECT)

    def finish(
        self,
        step: subprocess.Popen[bytes],
        *needs: subprocess.Popen[bytes],
        patience_s: float = STEP_PATIENCE_S,
    ) -> None:
        """Wait for a step to succeed.

        Raises ``PeerError`` when it fails, takes longer than ``patience_s``, or one of the
        processes that it ``needs`` ends.
        """
        deadline = time.monotonic() + patience_s
        while step.poll() is None:
            for other in needs:
                if other.poll() is not None:
                    raise self.failure(f"a process ended with exit code {other.returncode}")
            if time.monotonic() > deadline:
                raise self.failure(f"it took over {patience_s:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                step.wait(POLL_S)
        if step.returncode != 0:
            raise self.failure(f"a step ended with exit code {step.returncode}")

    def failure(self, reason: str) -> PeerError:
        """The error to raise, with the end of the log."""
        return PeerError(
            f"{self.label}: {reason}; end of {self.processes.log_path}:\n"
            f"{self.processes.log_tail()}"
        )
