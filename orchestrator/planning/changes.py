"""What deploying does: two states of a cluster, compared by the rules of Serve's controller."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from orchestrator.planning import kubernetes, notices
from orchestrator.planning.change import Change, Kind
from orchestrator.planning.deployed import (
    DISPATCHER,
    OBSERVATORY,
    ROUTER,
    environment_of,
)
from orchestrator.planning.file_fields import FileField, fields_of
from orchestrator.planning.serve_rules import Effect, effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.planning.deployed import Deployed

CLUSTER: Final = "cluster"
_NAME: Final = "cluster.name"

_RESTARTS_PART: Final = {
    ROUTER: Kind.RESTARTS_ROUTERS,
    DISPATCHER: Kind.RESTARTS_DISPATCHERS,
    OBSERVATORY: Kind.RESTARTS_OBSERVATORY,
}

_PART_OF_SECTION: Final = {
    "router": ROUTER,
    "auth": ROUTER,
    "dispatcher": DISPATCHER,
    "webhooks": DISPATCHER,
    "store": "router and dispatcher",
    "results": "router and dispatcher",
    "telemetry": "all parts",
}
"""Who goes by a section of the file that changes in place."""

_INLINE: Final = "results.inline_kilobytes"
_BODY: Final = "async_requests.max_body_kilobytes"
_BOUNDS_OF_BODY: Final = ("router.max_body_megabytes", "async_requests.max_megabytes")


class Platform(Enum):
    """Where the cluster runs, which says what becomes of settings that are fixed at its start."""

    MACHINE = "started by `orchestrator up`"
    RAY = "a Ray cluster that somebody else started"
    KUBERNETES = "KubeRay"


def plan(
    old: Deployed,
    new: Deployed,
    platform: Platform = Platform.MACHINE,
    *,
    obstacles: Iterable[str] = (),
) -> list[Change]:
    """What deploying `new` over `old` does, the gravest first; empty where nothing changes.

    Each field of the file stands once, at the gravest thing that it causes.

    Args:
        old: what runs.
        new: what would be deployed.
        platform: where.
        obstacles: why that cluster cannot take it at all, in sentences.
    """
    refused = (Change(CLUSTER, Kind.REFUSED, (), obstacle) for obstacle in obstacles)
    found = [*refused, *_fixed(old, new, platform), *_whole(old, new)]
    causes = {field.path for change in found for field in change.fields}
    gentle: dict[str, FileField] = {}
    for name in old.applications.keys() & new.applications.keys():
        for change, rest in _of_application(name, old, new):
            if change is not None:
                found.append(change)
                causes |= {field.path for field in change.fields}
            gentle |= rest
    left = {path: field for path, field in gentle.items() if path not in causes}
    found += _in_place(_without_copies(left, causes))
    found += _outgrown(old, new, platform)
    order = list(Kind)
    return sorted(found, key=lambda change: (-order.index(change.kind), change.part))


def _fixed(old: Deployed, new: Deployed, platform: Platform) -> Iterator[Change]:
    if platform is Platform.KUBERNETES:
        yield from kubernetes.changes(old, new)
        return
    both = old.fixed.keys() & new.fixed.keys()
    fields = [
        FileField(path, old.fixed[path], new.fixed[path])
        for path in new.fixed
        if path in both and old.fixed[path] != new.fixed[path]
    ]
    if any(field.path == _NAME for field in fields):
        yield Change(CLUSTER, Kind.REFUSED, tuple(fields), notices.OTHER_NAME)
    elif fields:
        yield Change(CLUSTER, Kind.NEW_CLUSTER, tuple(fields), notices.LIVE_CLUSTER)


def _whole(old: Deployed, new: Deployed) -> Iterator[Change]:
    """Parts that come or go."""
    for names, kind in (
        (new.applications.keys() - old.applications.keys(), Kind.ADDED),
        (old.applications.keys() - new.applications.keys(), Kind.REMOVED),
    ):
        for name in names:
            part = name if name in _RESTARTS_PART else environment_of(name)
            yield Change(part, kind, (), notices.OF_KIND[kind])


def _of_application(
    name: str, old: Deployed, new: Deployed
) -> Iterator[tuple[Change | None, Mapping[str, FileField]]]:
    """The restart that an application has, if any, and its fields that need none."""
    before, after = old.applications[name], new.applications[name]
    done = effect(before, after)
    part = name if name in _RESTARTS_PART else environment_of(name)
    restarting = [*done.everything, *(each for found in done.one.values() for each in found)]
    gentle = [each for found in done.in_place.values() for each in found]
    change = None
    if restarting:
        kind = _kind(name, done)
        fields = fields_of(name, before, after, restarting)
        change = Change(part, kind, tuple(fields.values()), notices.OF_KIND[kind])
    yield change, fields_of(name, before, after, gentle)


def _kind(name: str, done: Effect) -> Kind:
    if name in _RESTARTS_PART:
        return _RESTARTS_PART[name]
    if done.restarted == {"Replica"}:
        return Kind.RESTARTS_REPLICAS
    if done.restarted == {"Queue"}:
        return Kind.RESTARTS_QUEUE
    return Kind.RESTARTS_QUEUE_AND_REPLICAS


def _in_place(fields: Iterable[FileField]) -> Iterator[Change]:
    parts: dict[str, list[FileField]] = {}
    for field in fields:
        parts.setdefault(_part_of(field.path), []).append(field)
    for part, found in parts.items():
        yield Change(part, Kind.IN_PLACE, tuple(found), notices.in_place(found))


def _part_of(path: str) -> str:
    keys = path.split(".")
    if keys[0] == "models" and keys[2] == "environments":
        return f"{keys[1]}/{keys[3]}"
    return _PART_OF_SECTION.get(keys[0], CLUSTER)


def _without_copies(fields: Mapping[str, FileField], causes: Iterable[str]) -> Iterator[FileField]:
    """All but those that follow from others: bounds that are compiled to the least of several."""
    known = {*fields, *causes}
    results = known & {"results.url", "results.max_megabytes"}
    for path, field in fields.items():
        stem = path.removesuffix(_BODY)
        if path == _INLINE and results:
            continue
        if stem != path and known & {_BOUNDS_OF_BODY[0], stem + _BOUNDS_OF_BODY[1]}:
            continue
        yield field


def _outgrown(old: Deployed, new: Deployed, platform: Platform) -> Iterator[Change]:
    """Requests that may take longer than the load balancer was started for."""
    fits = old.fits_requests_s
    if platform is Platform.KUBERNETES or fits is None or new.longest_request_s <= fits:
        return
    field = FileField("(longest request, in seconds)", old.longest_request_s, new.longest_request_s)
    yield Change("load balancer", Kind.IN_PLACE, (field,), notices.HARD_STOP.format(seconds=fits))
