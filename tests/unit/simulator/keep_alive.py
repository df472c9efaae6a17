"""One replica that takes any number of requests and is kept for a while: who finds it gone?

Requests take no time, nor do starts and ends of the replica: what is left are the
rules of scaling to zero, whose outcome follows from the times of arrival alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from orchestrator.lifecycle.settings import (
    AutoscalingSettings,
    EnvironmentSettings,
    QueueSettings,
)
from orchestrator.simulator.engine import simulate
from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment
from orchestrator.simulator.service import Seconds
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import arrivals
from tests import recorded
from tests.unit.simulator.queueing import NAME, Floats, Kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator.reports.measures import RunMeasures

TICK_S: Final = 0.1
FIRST_S: Final = 20.0003
"""A queue that is new takes nothing away; and no request should come just at a tick."""

APART_S: Final = 1e-6
"""Requests of one moment are drawn apart: the first alone has to wait for the replica."""

SEEN_TICKS: Final = 2
"""A router tells of a request when it comes and, 0.2 s later, that it is gone: two ticks see it."""

TRACES: Final[dict[str, dict[str, Any]]] = {
    "azure code": {"trace": {"file": recorded.AZURE_CODE}},
    "mooncake conversation": {"trace": {"file": recorded.MOONCAKE_CONVERSATION}},
    "servegen client": {
        "trace": {"file": recorded.SERVEGEN_SMALL, "format": "servegen", "client": 2},
        "start_seconds": 302_400.0,
        "duration_seconds": 7_200.0,
        "rate_scale": 0.1,
    },
}


def times(name: str) -> Floats:
    """When the requests of a recorded trace come; skips where there is none."""
    spec = TRACES[name]
    file = recorded.trace(spec["trace"]["file"])
    spec = spec | {"trace": spec["trace"] | {"file": str(file)}}
    settings = Arrivals.model_validate(spec)
    at = np.array([arrival.at for arrival in arrivals(settings, 1, folder=Path())])
    apart = APART_S * np.arange(at.size)
    drawn: Floats = FIRST_S + np.maximum.accumulate(at - at[0] - apart) + apart
    return drawn


def scenario(at: Floats, keep_alive_s: float, window_s: float) -> Scenario:
    """One replica, gone `keep_alive_s` after a `window_s` without load."""
    scaling = AutoscalingSettings(
        max_replica=1,
        concurrency_target=10**6,
        # Any load at all asks for the replica.
        utilization=1e-6,
        window_s=window_s,
        scale_down_delay_s=keep_alive_s,
    )
    # No permit is kept: each request is told of when it comes.
    queue = QueueSettings(keep_s=0.0)
    environment = SimulatedEnvironment(
        name=NAME,
        settings=EnvironmentSettings(
            "model", "production", "v1", queue=queue, autoscaling=scaling, slots=10**6
        ),
        arrivals=map(Arrival, at.tolist()),
        service=Seconds(lambda: 0.0),
        slots=10**6,
        park_s=math.inf,
    )
    return Scenario(environments=[environment], tick_s=TICK_S, control_s=0.0)


def simulated(at: Floats, keep_alive_s: float, window_s: float) -> NDArray[np.bool_]:
    """Which requests found no replica, in the order of arrival."""
    kept = Kept()
    simulate(scenario(at, keep_alive_s, window_s), cast("RunMeasures", kept))
    came = sorted((ended.at - ended.latency_s, ended.cold) for ended in kept.all)
    return np.array([cold for _, cold in came])


def implied(at: Floats, keep_alive_s: float, window_s: float) -> NDArray[np.bool_]:
    """The same from the times alone, counted in ticks.

    The second tick after a request is the last to see it. A window ends the replica's
    use later by all its ticks, and one to see that it is over. The replica goes with
    the first tick after the keep-alive. Durations must not be whole ticks, where
    rounding would decide.
    """
    tick = np.floor(at / TICK_S).astype(int)
    used_until = tick + SEEN_TICKS + (1 + int(window_s / TICK_S) if window_s else 0)
    gone = used_until + int(keep_alive_s / TICK_S) + 1
    cold = np.ones(at.size, dtype=bool)
    cold[1:] = tick[1:] >= gone[:-1]
    return cold
