"""Which system gets which load, and in which order.

One round visits every system: start it, warm it up, measure, stop it. Rounds repeat
(ABCDE ABCDE …), so that a machine that grows slower or faster meets all of them alike. Systems
do not stay up between their turns, because an idle Ray cluster takes 10 to 14 % of a core (its
controller's and raylet's loops): three of them would take a fifth of a machine of two cores
away from the system that is being measured.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.base import Peer
from tests.benchmarks.peers.bento_ml import BentoMLPeer
from tests.benchmarks.peers.lit_serve import LitServePeer
from tests.benchmarks.peers.orchestrator import OrchestratorPeer
from tests.benchmarks.peers.ray_serve import RayServePeer
from tests.benchmarks.peers.ray_serve_haproxy import RayServeHAProxyPeer
from tests.benchmarks.processes import interrupts_ignored
from tests.benchmarks.wrk import LoadGeneratorError, Measurement, measure

PEERS: tuple[type[Peer], ...] = (
    OrchestratorPeer,
    LitServePeer,
    BentoMLPeer,
    RayServePeer,
    RayServeHAProxyPeer,
)
OURS = OrchestratorPeer.name
ECHO = "echo"
WARM_UP_SECONDS = 2
WARM_UP_CONNECTIONS = 16
IDLE_SECONDS = 2.0
# Beside the echo model at 1, 16 and 64 connections: model, connections. Those with more
# connections than slots are contended, the others are what they are compared with.
CONTENDED_CASES: tuple[tuple[str, int], ...] = (
    ("slots16-10ms", 16),
    ("slots16-10ms", 64),
    ("slots64-10ms", 64),
    ("slots4", 4),
    ("slots4", 16),
    ("slots4", 64),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One system, one of its models, one number of connections."""

    system: str
    model: str
    connections: int


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement of a case."""

    case: Case
    round_number: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Idle:
    """Share of one core that a started system takes without load, in percent."""

    system: str
    round_number: int
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    systems: Sequence[type[Peer]]
    connections: Sequence[int]
    rounds: int
    seconds: float
    contended: bool = True

    def cases(self, system: str) -> list[Case]:
        """The cases of one system in one round, in their order."""
        cases = [Case(system, ECHO, connections) for connections in self.connections]
        if system == OURS and self.contended:
            cases += [Case(system, model, connections) for model, connections in CONTENDED_CASES]
        return cases


class Suite:
    """Runs a plan with one system up at a time."""

    def __init__(self, plan: Plan, wrk: str, logs: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.runs: list[Run] = []
        self.idle: list[Idle] = []
        self._wrk = wrk
        self._tell = tell
        self._peers = [peer(logs) for peer in plan.systems]

    def versions(self) -> dict[str, str]:
        """Version of each system."""
        return {peer.name: peer.version() for peer in self._peers}

    def prepare(self) -> None:
        """Install what is missing; raises ``PeerError``."""
        for peer in self._peers:
            peer.prepare()

    def run(self) -> None:
        """All rounds. Raises ``PeerError`` or ``LoadGeneratorError``; nothing is left running."""
        for round_number in range(1, self.plan.rounds + 1):
            for peer in self._peers:
                self._visit(peer, round_number)

    def _visit(self, peer: Peer, round_number: int) -> None:
        try:
            peer.start()
            self._load(peer, Case(peer.name, ECHO, WARM_UP_CONNECTIONS), WARM_UP_SECONDS)
            self.idle.append(Idle(peer.name, round_number, idle_cpu_percent(peer)))
            for case in self.plan.cases(peer.name):
                result = self._load(peer, case, self.plan.seconds)
                self.runs.append(Run(case, round_number, result))
                self._tell(describe(self.plan.rounds, self.runs[-1]))
        finally:
            with interrupts_ignored():
                peer.stop()

    def _load(self, peer: Peer, case: Case, seconds: float) -> Measurement:
        url = address(peer, case.model)
        try:
            return measure(self._wrk, url, peer.body, connections=case.connections, seconds=seconds)
        except LoadGeneratorError as error:
            raise peer.failure(str(error)) from error


def address(peer: Peer, model: str) -> str:
    """Where ``peer`` serves ``model``; only ours serves more than one."""
    if isinstance(peer, OrchestratorPeer):
        return peer.model_url(model)
    return peer.url


def idle_cpu_percent(peer: Peer) -> float:
    """Processor time that ``peer`` takes without load, in percent of one core."""
    before, started = peer.processes.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    used = peer.processes.cpu_seconds() - before
    return max(0.0, 100 * used / (time.monotonic() - started))


def describe(rounds: int, run: Run) -> str:
    """One line of progress."""
    case, seen = run.case, run.measurement
    failed = f", {seen.errors} failed" if seen.errors else ""
    return (
        f"round {run.round_number}/{rounds}  {case.system:<18} {case.model:<13} "
        f"{case.connections:>3} connections  {seen.throughput:>7,.0f}/s  "
        f"p50 {seen.p50_ms:.2f} ms{failed}"
    )
