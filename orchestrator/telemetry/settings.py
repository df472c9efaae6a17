"""What telemetry goes by, as the compiled config hands it to every process."""

from __future__ import annotations

import msgspec


class TelemetrySettings(msgspec.Struct, frozen=True):
    """See the config's section `telemetry`.

    Attributes:
        sample_ratio: share of the traces that begin here and are exported, 0..1.
        slowest_share: share of an environment's requests that is kept for being slow, 0..1.
        recent: timelines that each router and dispatcher holds in memory.
        kept: timelines that the store holds of each environment.
        keep_s: seconds that it holds them.
        forward_baggage: whether models get the caller's `baggage`.
    """

    sample_ratio: float = 0.01
    slowest_share: float = 0.01
    recent: int = 10_000
    kept: int = 1_000
    keep_s: float = 86_400.0
    forward_baggage: bool = False
