"""Which share is measured when: two clusters side by side, one of them without a collector.

Levels of a few percent drown in what a machine does between two starts of a cluster. So both
stay up, the traced one changes its share while it runs, and each share is measured right after
the cluster that traces nothing. That one idles meanwhile, as the other does for its sake.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.processes import interrupts_ignored
from tests.benchmarks.suite import (
    ECHO,
    WARM_UP_CONNECTIONS,
    WARM_UP_SECONDS,
    Case,
    Plan,
    Run,
    describe,
)
from tests.benchmarks.tracing.variants import Traced, TracingOff
from tests.benchmarks.wrk import LoadGeneratorError, Measurement, measure

SETTLE_S = 1.0
"""After a change of the share: Serve tells its routers within that."""


class TracingSuite:
    """Runs a plan whose systems are `tracing.variants.VARIANTS`."""

    def __init__(self, plan: Plan, wrk: str, logs: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.runs: list[Run] = []
        self._wrk = wrk
        self._tell = tell
        self._off = TracingOff(logs)
        self._traced = Traced(logs)

    def run(self) -> None:
        """All rounds. Raises ``PeerError`` or ``LoadGeneratorError``; nothing is left running."""
        with ExitStack() as started:
            for peer in (self._off, self._traced):
                started.callback(stop, peer)
                peer.start()
                self._load(peer, WARM_UP_CONNECTIONS, WARM_UP_SECONDS)
            for round_number in range(1, self.plan.rounds + 1):
                for variant in self.plan.systems:
                    if issubclass(variant, Traced):
                        self._traced.trace(variant.percent)
                        time.sleep(SETTLE_S)
                        self._compare(variant, round_number)

    def _compare(self, variant: type[Traced], round_number: int) -> None:
        for connections in self.plan.connections:
            for name, peer in ((TracingOff.name, self._off), (variant.name, self._traced)):
                result = self._load(peer, connections, self.plan.seconds)
                self.runs.append(Run(Case(name, ECHO, connections), round_number, result))
                self._tell(describe(self.plan.rounds, self.runs[-1]))

    def _load(self, peer: TracingOff, connections: int, seconds: float) -> Measurement:
        try:
            return measure(self._wrk, peer.url, peer.body, connections=connections, seconds=seconds)
        except LoadGeneratorError as error:
            raise peer.failure(str(error)) from error


def stop(peer: TracingOff) -> None:
    """Ends it, and is not interrupted in that."""
    with interrupts_ignored():
        peer.stop()
