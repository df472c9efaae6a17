"""Made-up runs with simple figures."""

from tests.benchmarks.peers.lit_serve import LitServePeer
from tests.benchmarks.peers.orchestrator import OrchestratorPeer
from tests.benchmarks.report import Report
from tests.benchmarks.service_levels import verdicts
from tests.benchmarks.suite import ECHO, OURS, Case, Idle, Plan, Run
from tests.benchmarks.summary import summarise
from tests.benchmarks.wrk import Measurement

GOOD: dict[Case, tuple[float, float]] = {
    # case: requests per second, p50 in ms
    Case(OURS, ECHO, 1): (1700, 0.5),
    Case(OURS, ECHO, 16): (3000, 5),
    Case(OURS, ECHO, 64): (3000, 20),
    Case(OURS, "slots16-10ms", 16): (1200, 12),
    Case(OURS, "slots16-10ms", 64): (1190, 50),
    Case(OURS, "slots64-10ms", 64): (2400, 25),
    Case(OURS, "slots4", 4): (2800, 1.4),
    Case(OURS, "slots4", 16): (2900, 5.5),
    Case(OURS, "slots4", 64): (2800, 22),
    Case("litserve", ECHO, 1): (1300, 0.7),
    Case("litserve", ECHO, 16): (1500, 10),
    Case("litserve", ECHO, 64): (1500, 42),
    Case("ray_serve", ECHO, 1): (80, 12),
    Case("ray_serve", ECHO, 16): (150, 110),
    Case("ray_serve", ECHO, 64): (150, 420),
}


def run(
    case: Case, throughput: float, p50_ms: float = 1.0, *, round_number: int = 1, errors: int = 0
) -> Run:
    """One run of a second with these figures."""
    return Run(
        case,
        round_number,
        Measurement(
            requests=round(throughput),
            duration_s=1.0,
            p50_ms=p50_ms,
            p90_ms=2 * p50_ms,
            p99_ms=3 * p50_ms,
            max_ms=4 * p50_ms,
            mean_ms=p50_ms,
            errors=errors,
        ),
    )


def runs(changes: dict[Case, tuple[float, float]] | None = None) -> list[Run]:
    """One run of every case; all service levels hold but for what ``changes`` breaks."""
    return [run(case, *figures) for case, figures in {**GOOD, **(changes or {})}.items()]


def report() -> Report:
    """A report of ours and LitServe in which everything holds."""
    seen = runs()
    summary = summarise(seen)
    return Report(
        plan=Plan([OrchestratorPeer, LitServePeer], (1, 16, 64), rounds=1, seconds=1),
        machine={"cores": 2, "processor": "a processor"},
        versions={OURS: "0.1.0", "litserve": "0.2.19"},
        runs=seen,
        idle=[Idle(OURS, 1, 20.0), Idle(OURS, 2, 10.0), Idle(OURS, 3, 12.0)],
        summary=summary,
        levels=verdicts(summary),
    )
