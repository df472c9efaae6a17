"""From a difference in a compiled config to the fields of the file that it comes from.

The reverse of `orchestrator.config.compiling` and `orchestrator.config.routing`. Much
of what they write follows from something that stands elsewhere too; such a copy is
`DERIVED`, and the field is named by the place that has it as it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.section import GIGABYTE, KILOBYTE, MEGABYTE
from orchestrator.planning.deployed import CONTROL_PARTS, ROUTER
from orchestrator.planning.differences import ABSENT, Difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.planning.deployed import Application
    from orchestrator.planning.differences import Place

SOFTWARE: Final = "(installed version)"
"""Stands where the cause is no field of the file but the software itself."""


@dataclass(frozen=True, slots=True)
class FileField:
    """A field of the file, with what it was and what it will be.

    Attributes:
        path: dotted, as in `models.echo.deployments.v1.concurrency`.
        old: as in the file; None where it was not there.
        new: as in the file; None where it will not be there.
        secret: the values may be secret and are left out.
    """

    path: str
    old: Any = None
    new: Any = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one compiled value is named: its field, and what one unit of it is there."""

    path: str
    unit: float | None = None
    secret: bool = False


DERIVED: Final = _Rule("")

_ENVIRONMENT: Final[dict[str, _Rule]] = {
    "application": DERIVED,
    "runner": DERIVED,
    "predict_path": DERIVED,
    "slots": DERIVED,
    "max_replica": DERIVED,
    "deployment": _Rule("deployment"),
    "autoscaling": _Rule("autoscaling"),
    "queue.policy": _Rule("queue.policy"),
    "queue.max_requests": _Rule("queue.max_requests"),
    "queue.max_bytes": _Rule("queue.max_megabytes", 1 / MEGABYTE),
    "queue.aging_s": _Rule("queue.aging_seconds"),
    "queue.handover_s": _Rule("queue.handover_milliseconds", 1000),
    "queue.keep_s": _Rule("queue.keep_seconds"),
    "queue.lease_s": _Rule("queue.lease_seconds"),
    "timeouts.park_s": _Rule("timeouts.park_seconds"),
    "timeouts.predict_s": _Rule("timeouts.predict_seconds"),
    "timeouts.first_byte_s": _Rule("timeouts.first_byte_seconds"),
    "timeouts.chunk_gap_s": _Rule("timeouts.chunk_gap_seconds"),
    "retry.initial_s": _Rule("retry.initial_milliseconds", 1000),
    "retry.factor": _Rule("retry.factor"),
    "retry.max_s": _Rule("retry.max_seconds"),
    "retry.total_s": _Rule("retry.total_seconds"),
    "retry.connection_attempts": _Rule("retry.connection_attempts"),
    "retry.budget_ratio": _Rule("retry.budget_percent", 100),
    "retry.budget_window_s": _Rule("retry.budget_window_seconds"),
    "asynchronous.max_requests": _Rule("async_requests.max_requests"),
    "asynchronous.max_bytes": _Rule("async_requests.max_megabytes", 1 / MEGABYTE),
    "asynchronous.max_requests_per_key": _Rule("async_requests.max_requests_per_key"),
    "asynchronous.max_body_bytes": _Rule("async_requests.max_body_kilobytes", 1 / KILOBYTE),
    "asynchronous.run_s": _Rule("async_requests.run_seconds"),
    "asynchronous.aging_s": DERIVED,
}
"""Below `models.M.environments.E` of the routing table."""

_TABLE: Final[dict[str, _Rule]] = {
    "max_body_bytes": _Rule("router.max_body_megabytes", 1 / MEGABYTE),
    "store": _Rule("store"),
    "results.url": _Rule("results.url"),
    "results.keep_s": _Rule("results.keep_hours", 1 / 3600),
    "results.inline_bytes": _Rule("results.inline_kilobytes", 1 / KILOBYTE),
    "results.max_bytes": _Rule("results.max_megabytes", 1 / MEGABYTE),
    "webhooks.allow_http": _Rule("webhooks.allow_http"),
    "webhooks.allowed_networks": _Rule("webhooks.allowed_networks"),
    "webhooks.timeout_s": _Rule("webhooks.timeout_seconds"),
    "webhooks.per_host": _Rule("webhooks.concurrency_per_host"),
    "webhooks.schedule_s": _Rule("webhooks.retry_seconds"),
    "webhooks.dead_letter_s": _Rule("webhooks.dead_letter_days", 1 / 86_400),
    "lease_s": _Rule("dispatcher.lease_seconds"),
    "telemetry.sample_ratio": _Rule("telemetry.sampling_percent", 100),
    "telemetry.slowest_share": _Rule("telemetry.keep_slowest_percent", 100),
    "telemetry.recent": _Rule("telemetry.recent_requests"),
    "telemetry.kept": _Rule("telemetry.kept_requests"),
    "telemetry.keep_s": _Rule("telemetry.keep_hours", 1 / 3600),
    "telemetry.forward_baggage": _Rule("telemetry.forward_baggage"),
}
"""The rest of the routing table, but for `auth`."""

_REPLICA: Final[dict[str, _Rule]] = {
    "drain_timeout_seconds": _Rule(SOFTWARE),
    "runner": _Rule("runner"),
    "slots": _Rule("concurrency"),
    "startup": _Rule("startup"),
    "health": _Rule("health"),
    "environment_variables": _Rule("environment_variables", secret=True),
    "num_cpus": _Rule("resources.num_cpus"),
    "num_gpus": _Rule("resources.num_gpus"),
    "memory": _Rule("resources.memory_gigabytes", 1 / GIGABYTE),
    "accelerator_type": _Rule("resources.accelerator_type"),
    "resources": _Rule("resources.custom"),
    "label_selector": _Rule("resources.node_labels"),
}
"""What a replica is made from and occupies, below `models.M.deployments.D`."""

_OF_A_PART: Final[dict[str, _Rule]] = {
    "num_replicas": _Rule("{part}.replicas"),
    "ray_actor_options.label_selector": _Rule("placement.{part}"),
    "args.version": _Rule(SOFTWARE),
    "args.grace_s": _Rule("{part}.drain_seconds"),
    "graceful_shutdown_timeout_s": DERIVED,
}
"""Of a router, a dispatcher or an observatory."""

_QUEUE: Final[dict[str, _Rule]] = {
    "ray_actor_options.label_selector": _Rule("placement.queue"),
    "user_config.queue.async_share": _Rule("queue.async_share_percent", 100),
    "user_config": DERIVED,
    "graceful_shutdown_timeout_s": DERIVED,
}

_REPLICA_OPTIONS_DERIVED: Final = ("graceful_shutdown_timeout_s", "autoscaling_config")


def fields_of(
    name: str, old: Application, new: Application, found: Iterable[Difference]
) -> dict[str, FileField]:
    """Fields behind differences of one application, by path and in their order.

    Args:
        name: of the application.
        old: the application as it is.
        new: as it will be.
        found: differences between the two, as `serve_rules.effect` gives them.
    """
    fields: Iterator[FileField]
    if name in CONTROL_PARTS:
        fields = (field for each in found for field in _of_part(name, each))
    else:
        fields = _of_environment(name, old, new, list(found))
    return {field.path: field for field in fields}


def _of_part(part: str, found: Difference) -> Iterator[FileField]:
    option = found.place[1] if found.place[0] != "args" else ""
    if option == "user_config":
        # Dispatchers are told what routers are.
        yield from _of_table(found) if part == ROUTER else ()
        return
    place = found.place if not option else found.place[1:]
    yield from _named(place, found, _OF_A_PART, prefix="", part=part)


def _of_table(found: Difference) -> Iterator[FileField]:
    """Of a difference at `Router.user_config`."""
    place = found.place[2:]
    if place[:1] == ("models",):
        if len(place) > 4:  # an environment that comes or goes is an application of its own
            prefix = f"models.{place[1]}.environments.{place[3]}."
            yield from _named(place[4:], found, _ENVIRONMENT, prefix=prefix)
    elif place[:1] == ("auth",):
        yield from _of_auth(place, found)
    else:
        yield from _named(place, found, _TABLE, prefix="")


def _of_auth(place: Place, found: Difference) -> Iterator[FileField]:
    if len(place) < 3:
        yield FileField("auth.enabled", found.old is not None, found.new is not None)
    elif len(place) == 3:  # a key that comes or goes
        yield FileField(".".join(place), secret=True)
    elif place[3] == "sha256":
        yield FileField(".".join((*place[:3], "secret")), secret=True)
    else:
        yield _field(".".join(place), found, None)


def _of_environment(
    name: str, old: Application, new: Application, found: list[Difference]
) -> Iterator[FileField]:
    model, _, environment = name.partition(".")
    before, after = (each["args"]["replica"]["deployment"] for each in (old, new))
    of_environment = f"models.{model}.environments.{environment}."
    of_deployment = f"models.{model}.deployments.{after}."
    if before != after:
        yield FileField(f"{of_environment}deployment", before, after)
    for each in found:
        place = each.place
        if place[0] == "Queue":
            labels = place[1:3] == ("ray_actor_options", "label_selector")
            if labels and "!none" in _values(each):
                continue  # written where its replicas have labels
            yield from _named(place[1:], each, _QUEUE, prefix=of_environment)
        elif place[:1] == ("Replica",) and place[1] in _REPLICA_OPTIONS_DERIVED:
            continue
        elif place[:3] == ("args", "replica", "telemetry"):
            yield from _named(place[2:], each, _TABLE, prefix="")
        elif before == after:
            # What another deployment is made of is no change of the file's fields.
            yield from _of_replica(place, each, of_deployment)


def _of_replica(place: Place, found: Difference, prefix: str) -> Iterator[FileField]:
    """Of `args.replica...` or `Replica.ray_actor_options...`."""
    inside = place[2:]
    if not inside:
        yield _field(f"(compiled) {'.'.join(place)}", found, None)
        return
    if inside == ("runner", "type"):
        yield _field(f"{prefix}runner.type", found, None)
    elif inside[0] == "runner" and ABSENT in (found.old, found.new) and len(inside) == 2:
        return  # fields of another type of runner
    else:
        yield from _named(inside, found, _REPLICA, prefix=prefix)


def _values(found: Difference) -> list[Any]:
    """What is there on either side, of mappings their values."""
    sides = (found.old, found.new)
    return [
        value for side in sides for value in (side.values() if isinstance(side, dict) else (side,))
    ]


def _named(
    place: Place, found: Difference, rules: Mapping[str, _Rule], *, prefix: str, part: str = ""
) -> Iterator[FileField]:
    """By the rule of the longest part of `place` that has one, one field for each value."""
    for length in range(len(place), 0, -1):
        rule = rules.get(".".join(place[:length]))
        if rule is None:
            continue
        if rule is DERIVED:
            return
        if rule.path == SOFTWARE:
            yield _field(SOFTWARE, found, None)
            return
        inner = place[length:]
        top = "" if rule.path.startswith("placement.") else prefix
        path = ".".join((top + rule.path.format(part=part), *inner))
        yield from _leaves(path, found, rule)
        return
    yield _field(f"(compiled) {'.'.join(found.place)}", found, None)


def _leaves(path: str, found: Difference, rule: _Rule) -> Iterator[FileField]:
    """A mapping that comes or goes as a whole is as many fields as it has keys."""
    sides = [side for side in (found.old, found.new) if side is not ABSENT]
    whole = len(sides) == 1 and isinstance(sides[0], dict)
    if not whole:
        yield _field(path, found, rule)
        return
    for key, value in sides[0].items():
        old, new = (value, ABSENT) if found.new is ABSENT else (ABSENT, value)
        yield from _leaves(f"{path}.{key}", Difference((*found.place, key), old, new), rule)


def _field(path: str, found: Difference, rule: _Rule | None) -> FileField:
    if rule is not None and rule.secret:
        return FileField(path, secret=True)
    unit = None if rule is None else rule.unit
    return FileField(path, _in_file(found.old, unit), _in_file(found.new, unit))


def _in_file(value: Any, unit: float | None) -> Any:
    """A compiled value as the file has it; None where there is none."""
    if value is ABSENT:
        return None
    if unit is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = round(value * unit, 6)
    return int(number) if number.is_integer() else number
