"""Whether the cluster is there, lets us in, and has the environments that are wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from orchestrator.config.routing import queue_bounds
from orchestrator.http_connection import CallError
from orchestrator.replay.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.http_connection import Connection
    from orchestrator.replay.target import Place
    from orchestrator.simulator.experiment import ExperimentEnvironment

PATIENCE_S: Final = 30.0
"""How long the cluster may take to answer the first question."""

_STRANGER: Final = "what answers at --target is no such cluster"

_NO_MATTER: Final = frozenset({"experimental"})
"""Settings that change nothing by themselves."""


async def probe(connection: Connection, place: Place, key_from: str) -> dict[str, Any]:
    """An environment of the cluster as its API has it: settings and live state.

    Args:
        connection: to the cluster.
        place: of the environment.
        key_from: where the key comes from, for the message.

    Raises:
        ReplayError: there is no cluster, it does not let us in, or has no such environment.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await connection.get(place.read)
    except CallError as error:
        raise ReplayError(_said(error, place, key_from)) from error
    except TimeoutError as error:
        raise ReplayError(f"{place}: no answer within {PATIENCE_S:g} s") from error
    except (aiohttp.NonHttpUrlClientError, aiohttp.InvalidURL) as error:
        raise ReplayError(f"--target must be a URL as http://127.0.0.1:8000: {error}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise ReplayError(f"{_STRANGER}: {error}") from error
    if not isinstance(found, dict) or "live" not in found:
        raise ReplayError(f"{_STRANGER}: it knows nothing of {place.read}")
    return found


def _said(error: CallError, place: Place, key_from: str) -> str:
    match error.status:
        case None:
            return f"{error}; is the cluster up, and is --target its address?"
        case 401:
            return f"the cluster takes no key that is in {key_from}, or there is none: {error}"
        case 403:
            return (
                f"the key out of {key_from} does not reach {place}: {error}; a replay needs the "
                "scopes `inference` and `manage`: it watches replicas and line"
            )
        case 404:
            return f"{place} is not there: {error}; an environment's `target` names its model"
        case _:
            return f"{place} cannot be watched: {error}"


def differences(found: Mapping[str, Any], wanted: ExperimentEnvironment) -> list[str]:
    """What the cluster does otherwise than the experiment says, a few words each.

    Args:
        found: the environment as `probe` gives it.
        wanted: the same environment of the experiment.
    """
    live_slots = {replica["slots"] for replica in found["live"]["replicas"]}
    slots = max(live_slots, default=wanted.concurrency)
    here = wanted.autoscaling.model_dump(mode="json")
    there = dict(found.get("autoscaling") or {})
    if here["concurrency_target"] != there.get("concurrency_target"):
        # None stands for all slots.
        here["concurrency_target"] = here["concurrency_target"] or wanted.concurrency
        there["concurrency_target"] = there.get("concurrency_target") or slots
    told = [
        *_otherwise("autoscaling", there, here),
        *_otherwise("queue", found.get("queue") or {}, queue_bounds(wanted.queue)),
    ]
    if slots != wanted.concurrency:
        told.append(f"concurrency is {slots} there and {wanted.concurrency} here")
    return told


def _otherwise(section: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    for name, value in here.items():
        if name not in _NO_MATTER and name in there and there[name] != value:
            yield f"{section}.{name} is {_shown(there[name])} there and {_shown(value)} here"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
