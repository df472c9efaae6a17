"""Compiles a config to Ray Serve's own config, which `serve deploy` accepts.

What changes often (limits, autoscaling, time-outs, keys) goes into
`user_config` and into fields that Serve changes in place. Serve restarts an
application's replicas when its `args`, `import_path` or autoscaling policy
changes, so only what a replica is made from stands there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.environment import LONGEST_TIMEOUT_SECONDS
from orchestrator.config.routing import (
    application_name,
    queue_bounds,
    routing_table,
    telemetry_settings,
)
from orchestrator.config.scaling_policy import policy_specs
from orchestrator.config.section import GIGABYTE
from orchestrator.release import version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path as FilePath

    from orchestrator.config.cluster import NodeLabels
    from orchestrator.config.deployment import Deployment
    from orchestrator.config.environment import Autoscaling, Environment
    from orchestrator.config.schema import Config, Model
    from orchestrator.config.telemetry import Telemetry


_UNLIMITED: Final = 100_000
"""Calls at once to a router, a dispatcher or a queue: they bound requests themselves."""

_SURGE_PERCENT: Final = 25
_HEALTH_PERIOD_S: Final = 1
_SHUTDOWN_POLL_S: Final = 0.1
_SHUTDOWN_GRACE_S: Final = 30
"""Time for a replica to end after its last request did."""

_LOGGING: Final = {"enable_access_log": False, "encoding": "JSON"}
"""Serve would write a line for each request and each call of a queue; routers log what matters.

As JSON, a line carries what its record has: the trace and the request that it is about.
"""

_ROUTER_LOGGING: Final = {**_LOGGING, "log_level": "WARNING"}
"""Of Serve's own logger. It makes its access log's record for each request, a tenth of the
router's time, and throws it away only then. Our own loggers have levels of their own."""

_QUEUE_SHUTDOWN_S: Final = 5
"""A queue always has calls open that wait for news, and nothing to lose."""

_OBSERVATORY_SHUTDOWN_S: Final = 1
"""The observatory always has calls open, too; what it knows is lost with it in any case."""

_PUT_BACK_S: Final = 10
"""Time for a dispatcher to put back what it ran, and to end (see `dispatcher.application`)."""


def compile_serve(
    config: Config, env: Mapping[str, str], *, results_folder: FilePath | None = None
) -> dict[str, Any]:
    """A cluster as a `ServeDeploySchema` dict, JSON-able.

    Args:
        config: a loaded config.
        env: environment variables, for the secrets of API keys. Only their
            SHA-256 gets into the result; environment variables of a model, and
            that of the store's address, stay references.
        results_folder: for large results where the config names no place for them;
            None: they are kept in the store.

    Raises:
        ConfigError: a key's variable is not set, or holds no usable secret.
    """
    table = routing_table(config, env, results_folder=results_folder)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": config.cluster.host, "port": config.cluster.port},
        "applications": [
            _router(config, table),
            _dispatcher(config, table),
            _observatory(config),
            *_environments(config),
        ],
    }


def environment_settings(
    name: str, environment: str, model: Model, telemetry: Telemetry
) -> dict[str, Any]:
    """What an environment's queue goes by; changes in place."""
    settings = model.environments[environment]
    deployment = model.deployments[settings.deployment]
    return {
        "model": name,
        "environment": environment,
        "deployment": settings.deployment,
        "slots": deployment.concurrency,
        "queue": queue_bounds(settings.queue)
        | {"async_share": settings.queue.async_share_percent / 100},
        "autoscaling": autoscaling_settings(settings.autoscaling, deployment.concurrency),
        "startup": {
            "attempts": deployment.startup.attempts,
            "backoff_initial_s": deployment.startup.backoff_initial_seconds,
            "backoff_max_s": deployment.startup.backoff_max_seconds,
        },
        "resources": {
            "num_gpus": deployment.resources.num_gpus,
            "num_cpus": deployment.resources.num_cpus,
            **deployment.resources.custom,
        },
        "predict_s": settings.timeouts.predict_seconds,
        "telemetry": telemetry_settings(telemetry),
    }


def autoscaling_settings(autoscaling: Autoscaling, slots: int) -> dict[str, Any]:
    """How an environment scales; its shape is `orchestrator.lifecycle.settings`'.

    Args:
        autoscaling: the section of the file.
        slots: requests that one replica runs at once.
    """
    return {
        "policies": policy_specs(autoscaling.policy),
        "min_replica": autoscaling.min_replica,
        "max_replica": autoscaling.max_replica,
        "concurrency_target": autoscaling.concurrency_target or slots,
        "utilization": autoscaling.target_utilization_percentage / 100,
        "window_s": autoscaling.autoscaling_window,
        "scale_down_delay_s": autoscaling.scale_down_delay,
        "max_scale_down_rate": autoscaling.max_scale_down_rate / 100,
    }


def replica_spec(name: str, environment: str, model: Model, telemetry: Telemetry) -> dict[str, Any]:
    """What a replica is made from; a change restarts the environment's replicas."""
    deployment_name = model.environments[environment].deployment
    deployment = model.deployments[deployment_name]
    return {
        "model": name,
        "environment": environment,
        "deployment": deployment_name,
        "runner": deployment.runner.model_dump(by_alias=True),
        "slots": deployment.concurrency,
        "startup": deployment.startup.model_dump(),
        "health": deployment.health.model_dump(),
        "environment_variables": dict(deployment.environment_variables),
        # Not the environment's own time-out, so that changing that one restarts
        # nothing: Serve ends a replica that drains for longer than it allows.
        "drain_timeout_seconds": LONGEST_TIMEOUT_SECONDS,
        # Not the sampling, which a caller always decides for it: so it can be
        # changed while replicas go on.
        "telemetry": {"slowest_share": telemetry_settings(telemetry)["slowest_share"]},
    }


def _router(config: Config, table: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "router",
        "route_prefix": "/",
        "import_path": "orchestrator.router.application:build_app",
        "args": {"version": version()},
        "logging_config": _ROUTER_LOGGING,
        "deployments": [
            {
                "name": "Router",
                "num_replicas": config.router.replicas,
                "max_ongoing_requests": _UNLIMITED,
                "max_queued_requests": -1,
                "ray_actor_options": _placed(0.1, config.placement.router),
                "health_check_period_s": _HEALTH_PERIOD_S,
                "graceful_shutdown_timeout_s": config.router.drain_seconds
                + config.longest_request_seconds,
                "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_S,
                "user_config": table,
            }
        ],
    }


def _dispatcher(config: Config, table: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "dispatcher",
        "route_prefix": None,
        "import_path": "orchestrator.dispatcher.application:build_app",
        "args": {"version": version(), "grace_s": config.dispatcher.drain_seconds},
        "logging_config": _LOGGING,
        "deployments": [
            {
                "name": "Dispatcher",
                "num_replicas": config.dispatcher.replicas,
                "max_ongoing_requests": _UNLIMITED,
                "ray_actor_options": _placed(0.1, config.placement.dispatcher),
                "health_check_period_s": _HEALTH_PERIOD_S,
                "graceful_shutdown_timeout_s": config.dispatcher.drain_seconds + _PUT_BACK_S,
                "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_S,
                "user_config": table,
            }
        ],
    }


def _observatory(config: Config) -> dict[str, Any]:
    return {
        "name": "observatory",
        "route_prefix": None,
        "import_path": "orchestrator.observatory.application:build_app",
        "args": {"version": version()},
        "logging_config": _LOGGING,
        "deployments": [
            {
                "name": "Observatory",
                "num_replicas": 1,
                "max_ongoing_requests": _UNLIMITED,
                "ray_actor_options": _placed(0, config.placement.observatory),
                "health_check_period_s": _HEALTH_PERIOD_S,
                "graceful_shutdown_timeout_s": _OBSERVATORY_SHUTDOWN_S,
                "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_S,
            }
        ],
    }


def _environments(config: Config) -> Iterator[dict[str, Any]]:
    for name, model in config.models.items():
        for environment in model.environments:
            yield _application(name, environment, model, config)


def _application(name: str, environment: str, model: Model, config: Config) -> dict[str, Any]:
    application = application_name(name, environment)
    settings = model.environments[environment]
    deployment = model.deployments[settings.deployment]
    telemetry = config.telemetry
    queue_labels = config.placement.queue or _anywhere(deployment.resources.node_labels)
    return {
        "name": application,
        "route_prefix": None,
        "import_path": "orchestrator.environment:build_app",
        "args": {"replica": replica_spec(name, environment, model, telemetry)},
        "logging_config": _LOGGING,
        "deployments": [
            {
                "name": "Queue",
                "num_replicas": 1,
                "max_ongoing_requests": _UNLIMITED,
                "ray_actor_options": _placed(0, queue_labels),
                "health_check_period_s": _HEALTH_PERIOD_S,
                "graceful_shutdown_timeout_s": _QUEUE_SHUTDOWN_S,
                "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_S,
                "user_config": environment_settings(name, environment, model, telemetry),
            },
            {
                "name": "Replica",
                "ray_actor_options": _actor_options(deployment),
                "max_surge_percent": _SURGE_PERCENT,
                "health_check_period_s": _HEALTH_PERIOD_S,
                "graceful_shutdown_timeout_s": settings.timeouts.predict_seconds
                + _SHUTDOWN_GRACE_S,
                "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_S,
                "autoscaling_config": _autoscaling(settings, application),
            },
        ],
    }


def _placed(num_cpus: float, labels: NodeLabels) -> dict[str, Any]:
    """Actor options of a part of ours."""
    options: dict[str, Any] = {"num_cpus": num_cpus}
    if labels:
        options["label_selector"] = _selectors(labels)
    return options


def _selectors(labels: NodeLabels) -> dict[str, str]:
    """Without blanks, which Ray allows in `in(a, b)` and takes for a part of `b`."""
    return {key: value.replace(" ", "") for key, value in labels.items()}


def _anywhere(replica_labels: NodeLabels) -> NodeLabels:
    """Labels of a queue that may be on any node, although its replicas may not.

    Serve builds an application on the nodes that all its selectors name. Were the
    replicas' the only one, an environment whose nodes are started on demand would
    not be deployed before there is such a node; a selector of its own, that every
    node meets, keeps the queue and the building off them.
    """
    return {"ray.io/node-id": "!none"} if replica_labels else {}


def _autoscaling(settings: Environment, application: str) -> dict[str, Any]:
    """Serve's bounds, and our policy without any delay of Serve's own.

    `initial_replicas` stays unset: Serve takes it as the new target whenever a
    config changes, and would end running replicas.
    """
    return {
        "min_replicas": settings.autoscaling.min_replica,
        "max_replicas": settings.autoscaling.max_replica,
        "upscale_delay_s": 0,
        "downscale_delay_s": 0,
        "downscale_to_zero_delay_s": 0,
        "policy": {
            "policy_function": "orchestrator.queues.scaling:DesiredReplicas",
            "policy_kwargs": {"application": application},
        },
    }


def _actor_options(deployment: Deployment) -> dict[str, Any]:
    resources = deployment.resources
    options: dict[str, Any] = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
    if resources.memory_gigabytes is not None:
        options["memory"] = int(resources.memory_gigabytes * GIGABYTE)
    if resources.accelerator_type is not None:
        options["accelerator_type"] = resources.accelerator_type
    if resources.custom:
        options["resources"] = dict(resources.custom)
    if resources.node_labels:
        options["label_selector"] = _selectors(resources.node_labels)
    return options
