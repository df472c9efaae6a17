"""Rules that relate one field of the config to another.

Each reads the file's plain data and skips the parts that are wrong by
themselves, so that one mistake does not hide another: a file is reported with
everything that is wrong in it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from orchestrator.config.asynchronous import AsyncRequests
from orchestrator.config.cluster import Auth, Cluster, Router, is_loopback
from orchestrator.config.deployment import (
    PORT_PLACEHOLDER,
    CommandRunner,
    Deployment,
    Resources,
    Startup,
)
from orchestrator.config.environment import (
    SHORTEST_STABLE_WINDOW_SECONDS,
    Autoscaling,
    Queue,
    Retry,
)
from orchestrator.config.problems import Broken, Path, listed, shown, suggestion
from orchestrator.config.scaling_policy import policy_specs
from orchestrator.config.schema import PRODUCTION
from orchestrator.config.section import KILOBYTE, MEGABYTE, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

S = TypeVar("S", bound=Section)

_DEVICE_VARIABLES: Final = frozenset(
    {
        "ASCEND_RT_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "NEURON_RT_VISIBLE_CORES",
        "ONEAPI_DEVICE_SELECTOR",
        "ROCR_VISIBLE_DEVICES",
        "TPU_VISIBLE_CHIPS",
    }
)
"""Set by Ray for the devices that it assigned to a replica, by maker."""


def check(data: Any) -> Iterator[Broken]:
    """Every broken rule of a config file's plain data."""
    root = _mapping(data)
    models = _mapping(root.get("models"))
    cluster = _valid(Cluster, root.get("cluster"))
    yield from _auth(root, cluster, models)
    for name, model in models.items():
        path: Path = ("models", name)
        yield from _model(_mapping(model), path, cluster)
        for environment, settings in _mapping(_mapping(model).get("environments")).items():
            here: Path = (*path, "environments", environment, "async_requests")
            yield from _async_requests(_mapping(settings), here, root)


def _async_requests(
    environment: dict[str, Any], path: Path, root: dict[str, Any]
) -> Iterator[Broken]:
    settings = _valid(AsyncRequests, environment.get("async_requests", {}))
    if settings is None:
        return
    body = settings.max_body_kilobytes * KILOBYTE
    router = _valid(Router, root.get("router", {}))
    given = "max_body_kilobytes" in settings.model_fields_set  # the default gives way
    for limit, name in (
        (router.max_body_megabytes if router is not None else body, "router.max_body_megabytes"),
        (settings.max_megabytes, "max_megabytes"),
    ):
        if given and body > limit * MEGABYTE:
            rule = f"must be at most {name} ({limit:g} MB)"
            yield (*path, "max_body_kilobytes"), rule, f"{settings.max_body_kilobytes:g}"
    most, of_key = settings.max_requests, settings.max_requests_per_key
    if of_key is not None and of_key > most:
        rule = f"must be at most max_requests ({most})"
        yield (*path, "max_requests_per_key"), rule, str(of_key)


def _model(model: dict[str, Any], path: Path, cluster: Cluster | None) -> Iterator[Broken]:
    deployments = _mapping(model.get("deployments"))
    for name, deployment in deployments.items():
        yield from _deployment(_mapping(deployment), (*path, "deployments", name), cluster)
    environments = _mapping(model.get("environments"))
    if isinstance(model.get("environments"), dict) and PRODUCTION not in environments:
        rule = f'must have an environment "{PRODUCTION}"; it has {listed(environments)}'
        yield (*path, "environments"), rule, None
    for name, environment in environments.items():
        yield from _environment(_mapping(environment), (*path, "environments", name), deployments)


def _deployment(
    deployment: dict[str, Any], path: Path, cluster: Cluster | None
) -> Iterator[Broken]:
    runner = _valid(CommandRunner, deployment.get("runner"))
    if runner is not None and not any(PORT_PLACEHOLDER in part for part in runner.command):
        rule = f"must contain {PORT_PLACEHOLDER}, which stands for the port to listen on"
        yield (*path, "runner", "command"), rule, shown(" ".join(runner.command))
    resources = _valid(Resources, deployment.get("resources", {}))
    if resources is not None:
        yield from _resources(resources, (*path, "resources"), cluster)
    startup = _valid(Startup, deployment.get("startup", {}))
    if startup and startup.backoff_initial_seconds > startup.backoff_max_seconds:
        rule = f"must be at most backoff_max_seconds ({startup.backoff_max_seconds:g})"
        here = (*path, "startup", "backoff_initial_seconds")
        yield here, rule, f"{startup.backoff_initial_seconds:g}"
    for name in _DEVICE_VARIABLES & _mapping(deployment.get("environment_variables")).keys():
        rule = "must not be set: Ray assigns the devices; ask for them with resources.num_gpus"
        yield (*path, "environment_variables", name), rule, None


def _resources(resources: Resources, path: Path, cluster: Cluster | None) -> Iterator[Broken]:
    if resources.num_gpus > 1 and not resources.num_gpus.is_integer():
        rule = "must be a whole number, or a fraction below 1"
        yield (*path, "num_gpus"), rule, f"{resources.num_gpus:g}"
    offers = (("num_gpus", "gpus"), ("num_cpus", "cpus"))
    for wanted, offered in offers if cluster is not None else ():
        most, number = getattr(cluster, offered), getattr(resources, wanted)
        if most is not None and number > most:
            rule = f"must be at most cluster.{offered} ({most}), or no replica can ever start"
            yield (*path, wanted), rule, f"{number:g}"


def _environment(
    environment: dict[str, Any], path: Path, deployments: dict[str, Any]
) -> Iterator[Broken]:
    name = environment.get("deployment")
    if isinstance(name, str) and name not in deployments:
        close = suggestion(name, deployments)
        rule = f"must name a deployment of this model{close} (known: {listed(deployments)})"
        yield (*path, "deployment"), rule, shown(name)
    deployment = _valid(Deployment, deployments.get(name)) if isinstance(name, str) else None
    yield from of_settings(environment, path, deployment.concurrency if deployment else None)


def of_settings(environment: dict[str, Any], path: Path, slots: int | None) -> Iterator[Broken]:
    """Broken rules of an environment's autoscaling, queue and retries.

    Args:
        environment: plain data.
        path: where it stands.
        slots: requests that one of its replicas runs at once; None: not known.
    """
    autoscaling = _valid(Autoscaling, environment.get("autoscaling", {}))
    if autoscaling is not None:
        yield from _autoscaling(autoscaling, (*path, "autoscaling"), slots)
    queue = _valid(Queue, environment.get("queue", {}))
    if queue is not None and queue.keep_seconds >= queue.lease_seconds:
        rule = f"must be less than lease_seconds ({queue.lease_seconds:g})"
        yield (*path, "queue", "keep_seconds"), rule, f"{queue.keep_seconds:g}"
    retry = _valid(Retry, environment.get("retry", {}))
    if retry is not None and retry.initial_milliseconds > retry.max_seconds * 1000:
        rule = f"must be at most max_seconds ({retry.max_seconds:g} s)"
        yield (*path, "retry", "initial_milliseconds"), rule, f"{retry.initial_milliseconds:g}"


def _autoscaling(autoscaling: Autoscaling, path: Path, slots: int | None) -> Iterator[Broken]:
    if autoscaling.min_replica > autoscaling.max_replica:
        rule = f"must be at most max_replica ({autoscaling.max_replica})"
        yield (*path, "min_replica"), rule, str(autoscaling.min_replica)
    window = autoscaling.autoscaling_window
    if window < SHORTEST_STABLE_WINDOW_SECONDS and not autoscaling.experimental:
        rule = (
            f"must be at least {SHORTEST_STABLE_WINDOW_SECONDS} seconds; "
            "down to 1 only beside experimental: true"
        )
        yield (*path, "autoscaling_window"), rule, f"{window:g}"
    yield from _schedules(autoscaling, path)
    target = autoscaling.concurrency_target
    if slots is not None and target is not None and target > slots:
        rule = (
            f"must be at most the deployment's concurrency ({slots}): "
            "a replica never runs more at once"
        )
        yield (*path, "concurrency_target"), rule, str(target)


def _schedules(autoscaling: Autoscaling, path: Path) -> Iterator[Broken]:
    """Windows of time that want more replicas than there may be."""
    several = isinstance(autoscaling.policy, list)
    for index, spec in enumerate(policy_specs(autoscaling.policy)):
        windows = spec["settings"]["windows"] if spec["name"] == "schedule" else ()
        for number, window in enumerate(windows):
            if window["replicas"] > autoscaling.max_replica:
                here = (*path, "policy", *((index,) if several else ()), "windows", number)
                rule = f"must be at most max_replica ({autoscaling.max_replica})"
                yield (*here, "replicas"), rule, str(window["replicas"])


def _auth(
    root: dict[str, Any], cluster: Cluster | None, models: dict[str, Any]
) -> Iterator[Broken]:
    auth = _valid(Auth, root.get("auth", {}))
    if auth is None:
        return
    if cluster is not None and not auth.enabled and not is_loopback(cluster.host):
        rule = (
            f"must be true while cluster.host is {cluster.host}; without keys, listen on 127.0.0.1"
        )
        yield ("auth", "enabled"), rule, "false"
    if auth.enabled and not auth.keys:
        rule = "must have at least one key while auth.enabled is true, or nobody could call"
        yield ("auth", "keys"), rule, None
    environments = {name for model in models.values() for name in _environment_names(model)}
    for prefix, key in auth.keys.items():
        limits: tuple[tuple[str, list[str] | None, Any], ...] = (
            ("models", key.models, models),
            ("environments", key.environments, sorted(environments)),
        )
        for field, names, known in limits:
            for index, name in enumerate(names or ()):
                if name not in known:
                    rule = (
                        f"must be one of the file's {field}{suggestion(name, known)} "
                        f"(known: {listed(known)})"
                    )
                    yield ("auth", "keys", prefix, field, index), rule, shown(name)


def _environment_names(model: Any) -> list[str]:
    return list(_mapping(_mapping(model).get("environments")))


def _mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def _valid(section: type[S], value: Any) -> S | None:
    """`value` as a section, or None where it is wrong by itself."""
    try:
        return section.model_validate(value)
    except ValidationError:
        return None
