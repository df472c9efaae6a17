"""What every system under test is to the suite."""

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.benchmarks.processes import ProcessGroup

PROJECT = Path(__file__).resolve().parents[3]
# The same small JSON object for everyone; every system gives it back unchanged.
PAYLOAD = {"text": "the quick brown fox"}


class PeerError(Exception):
    """A system under test did not start or does not answer what it should."""


class Peer(ABC):
    """One system under test: ``start``, ``stop``, and where to send which body.

    A peer starts its processes in ``self.processes`` and puts its files into ``self.folder``
    (temporary, gone after ``stop``). ``start`` returns once a request was answered rightly.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 20.0

    def __init__(self, logs: Path) -> None:
        self.processes = ProcessGroup(self.name, logs / f"{self.name}.log")
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Address that takes the body; only valid between ``start`` and ``stop``."""

    @property
    def body(self) -> str:
        """The request's body, JSON."""
        return json.dumps(PAYLOAD)

    @property
    def folder(self) -> Path:
        """A folder for this run's files. Short, because socket paths end at 107 bytes."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes] | None:
        """Start the processes; returns the one whose end means failure, if there is one."""

    def prepare(self) -> None:
        """Install or check what the system needs; called before anything is started."""
        return

    def version(self) -> str:
        """Version of the software under test."""
        return ""

    def start(self) -> None:
        """Start the system and wait for its first right answer.

        Raises ``PeerError``, with the end of its log, when it fails or takes longer than
        ``start_timeout_s``.
        """
        child = self.launch()
        self.wait_for_answer(self.url, child)

    def stop(self) -> list[int]:
        """End all of its processes; returns the ids of those that had to be killed."""
        killed = self.processes.end(self.stop_timeout_s)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return killed

    def wait_for_answer(self, url: str, child: subprocess.Popen[bytes] | None) -> None:
        """Ask until ``url`` gives the payload back, or raise ``PeerError``."""
        deadline = time.monotonic() + self.start_timeout_s
        seen = "nothing was asked yet"
        while time.monotonic() < deadline:
            if child is not None and child.poll() is not None:
                raise self.failure(f"it ended with exit code {child.returncode}")
            answer, seen = post(url, self.body)
            if answer == PAYLOAD:
                return
            time.sleep(0.2)
        raise self.failure(f"no right answer after {self.start_timeout_s:g} s ({seen})")

    def failure(self, reason: str) -> PeerError:
        """The error to raise, with the end of the log."""
        return PeerError(
            f"{self.label}: {reason}; end of {self.processes.log_path}:\n"
            f"{self.processes.log_tail()}"
        )

    def run_child(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in the project's folder as part of this system."""
        return self.processes.start(command, environment=environment or {}, folder=PROJECT)


def post(url: str, body: str, timeout_s: float = 10.0) -> tuple[object, str]:
    """POST JSON once; returns the decoded answer (``None`` on failure) and what was seen."""
    request = urllib.request.Request(
        url, data=body.encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            raw = response.read()
    except urllib.error.HTTPError as error:
        with error:
            return None, f"status {error.code}: {error.read()[:300]!r}"
    except (OSError, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"
    try:
        return json.loads(raw), f"status 200: {raw[:300]!r}"
    except ValueError:
        return None, f"status 200, not JSON: {raw[:300]!r}"
