"""What runs came to, as it is written to a file: JSON, one object.

Times are seconds since the run's zero, durations are seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.release import version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMAT: Final = 1
"""Raised when a report of this release could be misread by an earlier one."""

SIMULATED: Final = "simulated"
LIVE: Final = "live"


class ReportError(Exception):
    """A file is no report that can be read; says which, what is wrong, and what would be right."""


class Distribution(msgspec.Struct, kw_only=True):
    """How a duration was distributed; all zero where nothing was measured.

    Attributes:
        count: of how many requests; `mean`, `min` and `max` are exact.
        curve: pairs of a share of the requests and the seconds within which they were,
            rising, denser towards share 1.
    """

    count: int = 0
    mean: float = 0.0
    min: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0
    curve: list[tuple[float, float]] = []


class Series(msgspec.Struct, kw_only=True):
    """An environment over time, in bins of one width; bin `n` begins at `n * bin_s`.

    Attributes:
        bin_s: width of a bin, seconds.
        arrivals: requests that arrived in each, and `answered`: that were answered.
        latency: mean seconds of those answered in each; null where none was.
        waiting, running, desired: time-weighted means.
        stages: replicas in each stage, by its name; time-weighted means.
    """

    bin_s: float
    arrivals: list[int] = []
    answered: list[int] = []
    latency: list[float | None] = []
    waiting: list[float] = []
    running: list[float] = []
    desired: list[float] = []
    stages: dict[str, list[float]] = {}


class Start(msgspec.Struct, kw_only=True):
    """A replica's start: seconds in each of its stages."""

    stages: dict[str, float]
    failed: bool = False


class Starts(msgspec.Struct, kw_only=True):
    """Starts that ended.

    Attributes:
        count: of them all; `failed`: those that did not become ready.
        seconds: how long those took that became ready.
        kept: the last of them, oldest first.
    """

    count: int = 0
    failed: int = 0
    seconds: Distribution = msgspec.field(default_factory=Distribution)
    kept: list[Start] = []


class Decision(msgspec.Struct, kw_only=True):
    """Another number of replicas was wanted."""

    at: float
    before: int
    desired: int
    reason: str


class Decisions(msgspec.Struct, kw_only=True):
    """Changes of the number wanted: how many there were, and the last, oldest first."""

    count: int = 0
    kept: list[Decision] = []


class Little(msgspec.Struct, kw_only=True):
    """Both sides of Little's law over the whole run, which agree where nothing was lost.

    Attributes:
        present: time-weighted mean of requests waiting or running.
        rate_times_latency: requests that ended a second, times their mean latency.
    """

    present: float
    rate_times_latency: float


class Peaks(msgspec.Struct, kw_only=True):
    """The largest values that levels had, over the whole run.

    Of several environments together: the largest means of one bin of their series.
    """

    waiting: float = 0.0
    running: float = 0.0
    desired: float = 0.0
    ready: float = 0.0


class EnvironmentReport(msgspec.Struct, kw_only=True):
    """One environment of a run, or all of them together.

    Counts and distributions are of the measured requests: those that arrived at or after
    the moment from which the run is measured. All else is of the whole run.

    Attributes:
        requests: measured requests that ended, however they did.
        outcomes: how many of them ended how.
        cold: how many waited while no replica was ready; `share_cold`: of all measured.
        waited: how many waited at all.
        retried: how many were given to more than one replica in turn.
        asynchronous: how many were accepted for later.
        latency: from arrival to the end of those answered, as their callers saw it.
        wait: in line, of all that were not turned away at once.
        first_byte: from arrival to the first byte of those answered that had one.
        service: for which those answered held a permit.
        arrived: requests that arrived over the whole run.
        mean_arrival_s: when, on average, the ones that ended had arrived; with `arrived` it
            tells runs of one traffic from runs of another.
        slots: requests that a replica runs at once, and `gpus_per_replica` the GPUs that it
            takes; 0: of several environments together.
        series: over time, the whole run; null in reports of many runs, save for the first seed of each.
        replica_seconds: by stage.
        gpu_seconds: for which replicas held their GPUs: all stages but PROVISIONING.
        busy_share: permit-seconds by the slot-seconds of replicas that ran requests (READY
            and DRAINING); null where there were none.
        cost: of the GPU-seconds, in the currency of the price; null where there is none.
        little: null where the load was not given.
    """

    requests: int = 0
    outcomes: dict[str, int] = {}
    cold: int = 0
    share_cold: float = 0.0
    waited: int = 0
    retried: int = 0
    asynchronous: int = 0
    latency: Distribution = msgspec.field(default_factory=Distribution)
    wait: Distribution = msgspec.field(default_factory=Distribution)
    first_byte: Distribution = msgspec.field(default_factory=Distribution)
    service: Distribution = msgspec.field(default_factory=Distribution)
    arrived: int = 0
    mean_arrival_s: float = 0.0
    slots: int = 0
    gpus_per_replica: float = 0.0
    series: Series | None = None
    peaks: Peaks = msgspec.field(default_factory=Peaks)
    replica_seconds: dict[str, float] = {}
    gpu_seconds: float = 0.0
    busy_share: float | None = None
    cost: float | None = None
    little: Little | None = None
    starts: Starts = msgspec.field(default_factory=Starts)
    decisions: Decisions = msgspec.field(default_factory=Decisions)


class PoolReport(msgspec.Struct, kw_only=True):
    """The GPUs that all environments share.

    Attributes:
        gpus: how many there are; null: as many as were wanted.
        gpu_seconds: for which they were taken.
        peak: the most that were taken at a time.
        bin_s, in_use: time-weighted means over time, as in `Series`.
    """

    gpus: float | None = None
    gpu_seconds: float = 0.0
    peak: float = 0.0
    bin_s: float = 1.0
    in_use: list[float] = []


class RunReport(msgspec.Struct, kw_only=True):
    """One run: one setting, one seed.

    Attributes:
        kind: `simulated` or `live`.
        label: which setting; runs of the same label differ in their seeds.
        parameters: what the setting is, by the path in the experiment.
        span_s: from the run's zero to its end.
        measure_from_s: requests that arrived before it are not measured.
        cpu_s, events: what a simulation took; 0: not known.
        environments: by name.
        total: all of them together; null where there is one only (see `whole`).
        price_per_gpu_hour: null: nothing is known of prices.
        valid: whether the run is a fair measurement; if not, `reason` says why.
        lag: seconds by which requests of a live run were sent late: p50, p99, max.
    """

    kind: str = SIMULATED
    label: str = ""
    parameters: dict[str, Any] = {}
    seed: int = 0
    span_s: float = 0.0
    measure_from_s: float = 0.0
    cpu_s: float = 0.0
    events: int = 0
    environments: dict[str, EnvironmentReport] = {}
    total: EnvironmentReport | None = None
    pool: PoolReport = msgspec.field(default_factory=PoolReport)
    price_per_gpu_hour: float | None = None
    valid: bool = True
    reason: str = ""
    lag: dict[str, float] | None = None

    @property
    def whole(self) -> EnvironmentReport:
        """All environments together."""
        if self.total is not None:
            return self.total
        return next(iter(self.environments.values()), EnvironmentReport())


class Report(msgspec.Struct, kw_only=True):
    """An experiment's runs.

    Attributes:
        format: see `FORMAT`.
        experiment: its name, and `description` what it is about.
        made_by: version of this software.
    """

    format: int = FORMAT
    experiment: str = ""
    description: str = ""
    made_by: str = msgspec.field(default_factory=version)
    runs: list[RunReport] = []


def assemble(experiment: str, runs: Iterable[RunReport], description: str = "") -> Report:
    """A report of many runs that stays small enough to be read by people's tools.

    Only the first run of each label and kind keeps what it knows of its course (series,
    single starts and decisions); runs of further seeds keep their counts and distributions.
    They are changed in place.
    """
    report = Report(experiment=experiment, description=description)
    seen = set()
    for run in runs:
        if (run.label, run.kind) in seen:
            _drop_course(run)
        seen.add((run.label, run.kind))
        report.runs.append(run)
    return report


def save(report: Report, path: Path) -> None:
    """Write a report; a file that is there is replaced whole or not at all.

    Raises:
        ReportError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(msgspec.json.encode(report) + b"\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ReportError(f"{path}: cannot be written: {error.strerror}") from error


def load(path: Path) -> Report:
    """Read a report.

    Raises:
        ReportError: there is none at the path that this release can read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ReportError(f"{path}: no such file; give the path of a report") from None
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}") from error
    return decode(text, str(path))


def decode(text: bytes, name: str) -> Report:
    """A report out of its JSON.

    Args:
        text: the JSON.
        name: where it came from, for errors.

    Raises:
        ReportError: it is not whole, no report, or of another format.
    """
    written = "expected what `orchestrator simulate --out` or `replay --out` writes"
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "is empty" if not text.strip() else f"is cut short or no JSON ({error})"
        raise ReportError(f"{name}: {what}; {written}") from error
    if not isinstance(found, dict) or "format" not in found or "runs" not in found:
        raise ReportError(f"{name}: is JSON, but no report: {_shape(found)}; {written}")
    if found["format"] != FORMAT:
        raise ReportError(
            f"{name}: is of format {found['format']!r}, written by release"
            f" {found.get('made_by', 'unknown')}; this release reads format {FORMAT}: make the"
            " report again"
        )
    try:
        return msgspec.convert(found, Report)
    except msgspec.ValidationError as error:
        raise ReportError(f"{name}: is no whole report: {error}; {written}") from error


def _shape(found: object) -> str:
    """What a JSON value is, in a few words."""
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    keys = ", ".join(repr(key) for key in list(found)[:5])
    return f"an object with the keys {keys}" if keys else "an object without keys"


def _drop_course(run: RunReport) -> None:
    for found in (*run.environments.values(), run.total):
        if found is not None:
            found.series = None
            found.starts.kept = []
            found.decisions.kept = []
    run.pool.in_use = []
