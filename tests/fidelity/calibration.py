"""What a simulation has to know of the machine: measured, before anything is compared.

A replay of its own, with a seed that no comparison uses, gives the stages of the starts
that it caused, and what router, network and this process add to the time for which a
request was told to run. Nothing is taken from the runs that are compared.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.http_client import CallError, ClusterClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.replay.planned import Planned
    from orchestrator.reports.measures import Ended

SAMPLED = 300
"""Requests whose timelines are read: spread over the run."""

CONTROL_S = 0.1
"""Period of Serve's loop, in which a simulation lets a decision wait for half of it on average.
A recorded start counts from the decision, so that much of it is taken off again."""

FEWEST_STARTS = 8


class Called(NamedTuple):
    """A synchronous request of the calibration: what was asked, what its caller saw."""

    planned: Planned
    ended: Ended


class Overheads(NamedTuple):
    """Mean seconds that are added to a request.

    Attributes:
        slot_s: while it holds its slot.
        outside_s: before and after.
    """

    slot_s: float
    outside_s: float


class Calibration(NamedTuple):
    """What was measured.

    Attributes:
        starts: as an environment's description has them.
        overheads: of requests.
    """

    starts: list[dict[str, Any]]
    overheads: Overheads

    def settings(self, environment: str, recorded: str) -> list[str]:
        """The same as `path=value` over an experiment.

        Args:
            environment: its name there.
            recorded: file that the starts are in.
        """
        path = f"environments.{environment}"
        slot_ms, outside_ms = (round(1000 * seconds, 3) for seconds in self.overheads)
        return [
            f"{path}.cold_start={{recorded: {recorded}}}",
            f"{path}.slot_overhead_milliseconds={slot_ms}",
            f"{path}.overhead_milliseconds={outside_ms}",
        ]


async def calibration(
    client: ClusterClient, starts: Sequence[Mapping[str, Any]], calls: Sequence[Called], ids: str
) -> Calibration:
    """What a calibration's replay showed.

    Args:
        client: of the cluster.
        starts: that the environment describes after it.
        calls: its requests.
        ids: what the ids of its requests begin with.

    Raises:
        RuntimeError: there is too little to go by.
    """
    ready = [_from_decision(start) for start in starts if start["result"] == "ready"]
    if len(ready) < FEWEST_STARTS:
        raise RuntimeError(f"only {len(ready)} replicas were started: too few to draw from")
    return Calibration(ready, await _overheads(client, calls, ids))


def _from_decision(start: Mapping[str, Any]) -> dict[str, Any]:
    """A start without the time in which the decision for it was on its way."""
    stages = dict(start["stages"])
    stages["PROVISIONING"] = max(stages.get("PROVISIONING", 0.0) - CONTROL_S / 2, 0.0)
    return {"result": "ready", "stages": stages}


async def _overheads(client: ClusterClient, calls: Sequence[Called], ids: str) -> Overheads:
    answered = [call for call in calls if call.ended.outcome == "answered"]
    step = max(len(answered) // SAMPLED, 1)
    slot, outside = [], []
    for planned, ended in answered[::step]:
        held_s = await _held_s(client, f"{ids}{planned.number}")
        if held_s is not None and planned.service_s is not None:
            slot.append(held_s - planned.service_s)
            outside.append(ended.latency_s - ended.wait_s - held_s)
    if not slot:
        raise RuntimeError("no timeline of the calibration's requests could be read")
    return Overheads(_positive(slot), _positive(outside))


def _positive(seconds: Iterable[float]) -> float:
    return max(fmean(seconds), 0.0)


async def _held_s(client: ClusterClient, request_id: str) -> float | None:
    """How long a replica had a request; None: it is no longer known, or was tried again."""
    try:
        found = await client.timeline(request_id)
    except CallError:
        return None
    attempts = found["raw"]["timeline"]["attempts"]
    return float(attempts[0]["seconds"]) if len(attempts) == 1 else None
