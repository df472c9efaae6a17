"""What is shown of an environment, from its queue's state and its history. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.replica import STARTUP_STAGES, Stage
from orchestrator.observatory.history import RECENT, STEP_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.observatory.history import History

LIVE: Final = "live"
DECISIONS: Final = "decisions"
STARTS: Final = "starts"
"""Sections of a queue's state."""

UNKNOWN: Final = "UNKNOWN"
"""Status of an environment whose queue does not tell anything."""


def section(state: Mapping[str, bytes], name: str, default: Any) -> Any:
    """A section of a queue's state, decoded; the default where there is none, or none to read."""
    data = state.get(name)
    if data is None:
        return default
    try:
        found = msgspec.msgpack.decode(data)
    except msgspec.DecodeError:
        return default
    return found if isinstance(found, type(default)) else default


def row(
    model: str, environment: str, state: Mapping[str, bytes], history: History, now: float
) -> dict[str, Any]:
    """An environment at a glance, but for its version.

    Args:
        model: the environment's model.
        environment: its name.
        state: sections of its queue's state.
        history: of its last 15 minutes.
        now: Unix time.
    """
    live: dict[str, Any] = section(state, LIVE, {})
    decisions: list[dict[str, Any]] = section(state, DECISIONS, [])
    step = int(now // STEP_S)
    requests, errors, cold, p95 = history.recent(step)
    provisioning = live.get("provisioning") or {}
    return {
        "model": model,
        "environment": environment,
        "status": live.get("status") or UNKNOWN,
        "reason": live.get("reason"),
        "deployment": live.get("deployment", ""),
        "waiting": live.get("waiting", 0),
        "oldest_wait_s": _shown(age(live, "oldest", now)),
        "in_flight": live.get("in_use", 0),
        "permits": live.get("in_use", 0) + live.get("kept", 0),
        "slots": live.get("slots", 0),
        "desired": live.get("desired", 0),
        "replicas": _stages(live),
        "provisioning": {
            "count": provisioning.get("count", 0),
            "for_s": _shown(age(provisioning, "", now)),
            "needs": provisioning.get("needs", {}),
        },
        "requests_per_s": round(requests / (RECENT * STEP_S), 3),
        "error_rate": round(errors / requests, 4) if requests else 0.0,
        "p95_s": None if p95 is None else round(p95, 4),
        "cold_starts": int(cold),
        "decision": _decision(live, decisions),
        "spark": history.spark(step),
    }


def whole(state: Mapping[str, bytes], history: History, minutes: int, now: float) -> dict[str, Any]:
    """An environment in full: its charts, and what its queue knows."""
    live: dict[str, Any] = section(state, LIVE, {})
    step = int(now // STEP_S)
    classes: dict[str, dict[str, Any]] = live.get("classes") or {}
    return {
        "step_s": STEP_S,
        "end": step * STEP_S,
        "series": history.series(step, max(1, minutes * 60 // STEP_S)),
        "decisions": section(state, DECISIONS, []),
        "starts": section(state, STARTS, []),
        "replicas": list(live.get("replicas", ())),
        "queue": [
            {
                "class": name,
                "waiting": one.get("waiting", 0),
                "in_flight": one.get("in_use", 0),
                "oldest_s": round(age(one, "oldest", now), 1),
            }
            for name, one in classes.items()
        ],
        "live": {name: value for name, value in live.items() if name != "replicas"},
    }


def age(facts: Mapping[str, Any], what: str, now: float) -> float:
    """Seconds since `<what>_at` (or `since`); where that is not told, `<what>_wait_s` or `for_s`."""
    at = facts.get(f"{what}_at" if what else "since")
    if at is not None:
        return max(now - float(at), 0.0)
    return float(facts.get(f"{what}_wait_s" if what else "for_s") or 0.0)


def starts(state: Mapping[str, bytes], now: float) -> list[dict[str, Any]]:
    """Starts that have ended, and those that go on (see `orchestrator.telemetry.starts`)."""
    live: dict[str, Any] = section(state, LIVE, {})
    found: list[dict[str, Any]] = section(state, STARTS, [])
    going_on = {"at": now, "result": "starting", "reason": ""}
    for replica in live.get("replicas", ()):
        if replica.get("stage") in STARTUP_STAGES:
            stages: dict[str, float] = replica.get("stages") or {}
            seconds = now - float(replica.get("started") or now)
            found.append(
                {
                    "replica": replica.get("id", ""),
                    "deployment": replica.get("deployment", ""),
                    "seconds": max(seconds + stages.get(Stage.PROVISIONING, 0.0), 0.0),
                    "stages": stages,
                    "stage": replica["stage"],
                    **going_on,
                }
            )
    provisioning = live.get("provisioning") or {}
    if provisioning.get("count"):
        found.append(
            {
                "replica": "",
                "deployment": live.get("deployment", ""),
                "seconds": age(provisioning, "", now),
                "stages": {},
                "stage": Stage.PROVISIONING.value,
                **going_on,
            }
        )
    return found


def last_failure(state: Mapping[str, bytes]) -> dict[str, Any]:
    """The last start that failed; empty: none is known."""
    found: list[dict[str, Any]] = section(state, STARTS, [])
    return next((each for each in reversed(found) if each.get("result") == "failed"), {})


def _shown(seconds: float) -> float:
    """An age with two digits: the older, the less often it makes another row."""
    return float(f"{seconds:.2g}")


def _stages(live: Mapping[str, Any]) -> dict[str, int]:
    stages = Counter(str(each.get("stage")) for each in live.get("replicas", ()))
    missing = int((live.get("provisioning") or {}).get("count", 0))
    if missing:
        stages[Stage.PROVISIONING.value] += missing
    return dict(stages)


def _decision(live: Mapping[str, Any], decisions: list[dict[str, Any]]) -> dict[str, Any] | None:
    decided = decisions[-1] if decisions else live.get("decided") or {}
    reason = live.get("decision") or decided.get("reason")
    if reason is None:
        return None
    return {
        "at": decided.get("at", live.get("decided_at")),
        "desired": live.get("desired", decided.get("desired", 0)),
        "reason": reason,
    }
