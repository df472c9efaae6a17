"""What the supervisor of a cluster and that of a node that joined one have in common.

Each starts processes below itself, keeps the list of them true, and ends exactly those.
"""

import fcntl
import logging
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import msgspec

from orchestrator.cluster import processes, records
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase, leftovers

log = logging.getLogger("orchestrator.cluster.supervisor")

DRAIN_GRACE_SECONDS = 15.0
"""How long requests in flight may go on when a cluster or a node is ended."""

END_GRACE_SECONDS = 5.0
"""How long a process that is left over has between SIGTERM and SIGKILL."""

_SURVEY_SECONDS = 1.0

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818  # not an error: somebody asked for it
    """SIGTERM or SIGINT came while it was being started."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to start, for either kind of supervisor."""

    record: ClusterRecord
    parent: int | None  # end when this process does; None: go on without it


class Keeper(ABC):
    """Starts something, watches over its processes, ends it."""

    def __init__(self, record: ClusterRecord) -> None:
        self.record = record
        self._started: set[processes.ProcessId] = set()
        self._stop = threading.Event()

    def run(self) -> int:
        """The whole life of what is kept; the exit status."""
        error: str | None = None
        try:
            self.start()
            while not self._stop.wait(_SURVEY_SECONDS):
                self.watch()
        except (Stopped, SystemExit):  # Ray's own handler exits, while Ray starts
            log.info("asked to stop while starting")
        except ClusterError as failure:
            error = str(failure)
        except Exception as failure:  # whatever Ray raises is a reason to end what it started
            log.exception("it could not be started or kept")
            error = f"{type(failure).__name__}: {failure}"
        if error is not None:
            log.error("%s", error)
            self.report(phase=Phase.FAILED, error=error)
        self._end()
        return 0 if error is None else 1

    def request_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Signal handler: end at the next opportunity."""
        self._stop.set()

    @abstractmethod
    def start(self) -> None:
        """Start it, and report when it is ready.

        Raises:
            ClusterError: it cannot be started.
            Stopped: somebody asked to end it meanwhile.
        """

    @abstractmethod
    def end_in_order(self) -> None:
        """End what was started, as far as it goes; the rest is ended by id."""

    def watch(self) -> None:
        """Keep the record of what was started true; called every second."""
        self.survey()

    def proceed(self, pause_seconds: float = 0.0) -> None:
        """Wait for so long, unless somebody asks to stop; raises Stopped then."""
        if self._stop.wait(pause_seconds) if pause_seconds else self._stop.is_set():
            raise Stopped

    def report(self, **changes: Any) -> None:
        """Change the record."""
        self.record = msgspec.structs.replace(self.record, **changes)
        records.write(self.record)

    def survey(self) -> None:
        """Write down what has been started below this process."""
        processes.reap_zombies()
        below = processes.descendants(os.getpid())
        known = {process for process in self._started if processes.alive(process)}
        if below | known != self._started:
            self._started = below | known
            records.write_processes(self.record.name, self._started)

    def _end(self) -> None:
        """End what was started in order, then whatever is left of it, by id."""
        log.info("ending")
        self.survey()
        if self.record.phase is not Phase.FAILED:
            self.report(phase=Phase.STOPPING)
        overdue = threading.Timer(DRAIN_GRACE_SECONDS + 15, self._kill_all)
        overdue.daemon = True
        overdue.start()
        try:
            self.end_in_order()
        except Exception:  # the rest is ended by id all the same
            log.exception("it did not end in order")
        overdue.cancel()
        left = self._started | leftovers(self.record) | processes.descendants(os.getpid())
        left = {process for process in left - {self.record.supervisor} if processes.alive(process)}
        log.info("ended in order; %d processes are left over", len(left))
        stuck = processes.end(left, grace_seconds=END_GRACE_SECONDS)
        processes.reap_zombies()
        log.info("ended")
        if stuck:
            log.error("could not end %s", sorted(process.pid for process in stuck))
            records.write_processes(self.record.name, stuck)

    def _kill_all(self) -> None:
        for process in processes.descendants(os.getpid()) | self._started:
            processes.send(process, signal.SIGKILL)


P = TypeVar("P", bound=Plan)


def handle_stop_signals(keeper: Keeper) -> None:
    """Let SIGTERM and SIGINT ask `keeper` to end."""
    for number in _STOP_SIGNALS:
        signal.signal(number, keeper.request_stop)


def keep(name: str, kind: type[P], make: Callable[[P], Keeper]) -> int:
    """Run the keeper of what is recorded as `name`, by the plan in its folder; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = records.folder_of(name)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another supervisor of %s holds %s", name, lock.name)  # noqa: TRY400
            return 2
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=kind)
        me = processes.identify(os.getpid())
        if me is None:
            raise RuntimeError("/proc does not know this process")
        record = msgspec.structs.replace(plan.record, supervisor=me)
        keeper = make(msgspec.structs.replace(plan, record=record))
        handle_stop_signals(keeper)
        processes.adopt_orphans()
        if plan.parent is not None:
            processes.end_with_parent(plan.parent)
        status = keeper.run()
        # All is ended: what asks for it now would only cut this process's own leaving short.
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        return status
