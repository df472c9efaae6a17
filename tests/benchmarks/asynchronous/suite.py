"""Which system is measured when.

One round visits every system: a store of its own, its processes, its measurements, the end of
them all. Rounds repeat (ABCDE ABCDE …), so that a machine that grows slower or faster meets all
of them alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.asynchronous.metrics import Amounts, Sample
from tests.benchmarks.asynchronous.systems.base import System
from tests.benchmarks.asynchronous.systems.orchestrator import OrchestratorSystem
from tests.benchmarks.asynchronous.systems.queues import (
    ArqSystem,
    CelerySystem,
    SaqSystem,
    TaskiqSystem,
)
from tests.benchmarks.processes import interrupts_ignored

SYSTEMS: tuple[type[System], ...] = (
    OrchestratorSystem,
    SaqSystem,
    ArqSystem,
    TaskiqSystem,
    CelerySystem,
)
OURS = OrchestratorSystem.name


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    systems: Sequence[type[System]]
    rounds: int
    amounts: Amounts


class Suite:
    """Runs a plan with one system up at a time."""

    def __init__(self, plan: Plan, logs: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.samples: list[Sample] = []
        self._tell = tell
        self._systems = [system(logs) for system in plan.systems]

    def versions(self) -> dict[str, str]:
        """Version of each system."""
        return {system.name: system.version() for system in self._systems}

    def prepare(self) -> None:
        """Install what is missing; raises ``PeerError`` or ``LoadGeneratorError``."""
        for system in self._systems:
            system.prepare()

    def run(self) -> None:
        """All rounds. Raises ``PeerError`` or ``LoadGeneratorError``; nothing is left running."""
        for round_number in range(1, self.plan.rounds + 1):
            for system in self._systems:
                self._visit(system, round_number)

    def _visit(self, system: System, round_number: int) -> None:
        try:
            for figure in system.visit(self.plan.amounts):
                self.samples.append(Sample(system.name, round_number, figure))
                self._tell(describe(self.plan.rounds, self.samples[-1]))
        finally:
            with interrupts_ignored():
                system.stop()


def describe(rounds: int, sample: Sample) -> str:
    """One line of progress."""
    metric, value = sample.figure.metric, sample.figure.value
    return (
        f"round {sample.round_number}/{rounds}  {sample.system:<18} {metric.title:<28} "
        f"{value:>9,.{metric.digits}f}"
    )
