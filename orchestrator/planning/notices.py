"""What callers notice of a change, in plain words."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from orchestrator.planning.change import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.planning.file_fields import FileField

OF_KIND: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ADDED: "Its address answers once its queue runs; replicas start when they are wanted.",
        Kind.REMOVED: (
            "Its address answers 404. Who waits in line gets 503, what runs ends. Accepted "
            "asynchronous requests stay in the store and run when it is deployed again."
        ),
        Kind.RESTARTS_QUEUE: (
            "Requests that run go on. New ones wait in line for the seconds until the queue is "
            "back; those that wait keep their places."
        ),
        Kind.RESTARTS_REPLICAS: (
            "Replacements start first, a quarter more at a time, for which there must be room; "
            "what runs ends on the old ones, within predict_seconds and 30 s."
        ),
        Kind.RESTARTS_QUEUE_AND_REPLICAS: (
            "Replacements start first, a quarter more at a time, for which there must be room; "
            "what runs ends on the old ones, within predict_seconds and 30 s. Those that wait "
            "keep their places; new requests wait for the seconds until the queue is back."
        ),
        Kind.RESTARTS_ROUTERS: (
            "Routers are replaced one at a time, the old one first: with a single router, "
            "requests are answered 503 for the seconds until the new one is there. Requests "
            "that run end by the old one."
        ),
        Kind.RESTARTS_DISPATCHERS: (
            "Asynchronous requests start seconds later. What runs has drain_seconds to end, then "
            "it is put back and runs again from its beginning."
        ),
        Kind.RESTARTS_OBSERVATORY: (
            "Requests notice nothing; /metrics and the console answer 503 for seconds, and "
            "counters begin at 0."
        ),
    }
)

LIVE_CLUSTER: Final = (
    "Set when a cluster starts: `deploy` refuses the file, with all else in this plan, until "
    "`orchestrator down`, then `up`."
)
OTHER_NAME: Final = "This file is of a cluster of another name; `deploy` would look for that one."
HARD_STOP: Final = (
    "The load balancer was started for requests of at most {seconds:g} s. When it reloads (a "
    "router comes or goes), it cuts longer ones; a restart of the cluster fits it."
)

_IN_PLACE: Final[tuple[tuple[str, str], ...]] = (
    ("router.replicas", "The load balancer reloads; a router that goes finishes its requests."),
    (
        "dispatcher.replicas",
        "A dispatcher that goes has drain_seconds for what it runs, and puts the rest back.",
    ),
    ("auth.", "The next request is judged by it."),
    ("telemetry.", "The next request is told of by it; none notices."),
    (
        "store",
        "Routers and dispatchers go to the other store; requests that the old one holds stay there.",
    ),
    ("results.", "Results from now on are kept by it."),
    ("webhooks.", "Deliveries from now on go by it."),
    ("dispatcher.", "Runs from now on go by it."),
)
"""By how the first field begins."""

_OF_ENVIRONMENT: Final[tuple[tuple[str, str], ...]] = (
    (
        ".autoscaling.max_replica",
        "The next decision goes by it; replicas above the bound finish what they run and end.",
    ),
    (".autoscaling.", "The next decision goes by it."),
)
"""By what a field of an environment has in it."""

_FROM_THE_NEXT: Final = "The next request goes by it; those under way end by what they began with."


def in_place(fields: Iterable[FileField]) -> str:
    """What callers notice of fields that change without any restart."""
    found: dict[str, None] = {}
    for field in fields:
        rules = _OF_ENVIRONMENT if field.path.startswith("models.") else _IN_PLACE
        for mark, notice in rules:
            fits = mark in field.path if rules is _OF_ENVIRONMENT else field.path.startswith(mark)
            if fits:
                found[notice] = None
                break
        else:
            found[_FROM_THE_NEXT] = None
    return " ".join(found)
