"""The routing table: what routers and dispatchers are told, as `user_config`.

Its shape is `orchestrator.router.table.RoutingTable`; it changes without a
restart. Durations are in seconds, sizes in bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.deployment import CommandRunner, PythonRunner
from orchestrator.config.problems import ConfigError, Path, Problem, dotted
from orchestrator.config.section import KILOBYTE, MEGABYTE
from orchestrator.config.store_address import handed_on
from orchestrator.config.substitution import secret_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as FilePath

    from orchestrator.config.asynchronous import Results, Webhooks
    from orchestrator.config.cluster import ApiKey
    from orchestrator.config.environment import Environment, Queue, Retry
    from orchestrator.config.schema import Config, Model
    from orchestrator.config.telemetry import Telemetry

PYTHON_PREDICT_PATH: Final = "/predict"


def application_name(model: str, environment: str) -> str:
    """Name of the Serve application of an environment."""
    return f"{model}.{environment}"


def routing_table(
    config: Config, env: Mapping[str, str], *, results_folder: FilePath | None = None
) -> dict[str, Any]:
    """What routers and dispatchers know: models with their limits, API keys, the store.

    Raises:
        ConfigError: a key's variable is not set, or holds no usable secret.
    """
    models: dict[str, Any] = {
        name: {
            "environments": {
                environment: _route(name, environment, model, config)
                for environment in model.environments
            }
        }
        for name, model in config.models.items()
    }
    return {
        "models": models,
        "max_body_bytes": int(config.router.max_body_megabytes * MEGABYTE),
        "auth": {"keys": _keys(config, env)} if config.auth.enabled else None,
        "store": handed_on(config.store),
        "results": _results(config.results, results_folder),
        "webhooks": _webhooks(config.webhooks),
        "lease_s": config.dispatcher.lease_seconds,
        "telemetry": telemetry_settings(config.telemetry),
    }


def telemetry_settings(telemetry: Telemetry) -> dict[str, Any]:
    """What every process goes by; its shape is `orchestrator.telemetry.settings`'."""
    return {
        "sample_ratio": telemetry.sampling_percent / 100,
        "slowest_share": telemetry.keep_slowest_percent / 100,
        "recent": telemetry.recent_requests,
        "kept": telemetry.kept_requests,
        "keep_s": telemetry.keep_hours * 3600,
        "forward_baggage": telemetry.forward_baggage,
    }


def _route(name: str, environment: str, model: Model, config: Config) -> dict[str, Any]:
    settings = model.environments[environment]
    deployment = model.deployments[settings.deployment]
    runner, timeouts, retry = deployment.runner, settings.timeouts, settings.retry
    return {
        "application": application_name(name, environment),
        "deployment": settings.deployment,
        "runner": runner.type,
        "predict_path": _predict_path(runner),
        "autoscaling": settings.autoscaling.model_dump(),
        "queue": queue_bounds(settings.queue),
        "timeouts": {
            "park_s": timeouts.park_seconds,
            "predict_s": timeouts.predict_seconds,
            "first_byte_s": timeouts.first_byte_seconds,
            "chunk_gap_s": timeouts.chunk_gap_seconds,
        },
        "retry": retry_rules(retry),
        "asynchronous": _asynchronous(settings, config),
        "slots": deployment.concurrency,
        "max_replica": settings.autoscaling.max_replica,
    }


def _asynchronous(settings: Environment, config: Config) -> dict[str, Any]:
    limits = settings.async_requests
    return {
        "max_requests": limits.max_requests,
        "max_bytes": int(limits.max_megabytes * MEGABYTE),
        "max_requests_per_key": limits.max_requests_per_key,
        "max_body_bytes": int(
            min(
                limits.max_body_kilobytes * KILOBYTE,
                limits.max_megabytes * MEGABYTE,
                config.router.max_body_megabytes * MEGABYTE,
            )
        ),
        "run_s": limits.run_seconds,
        "aging_s": settings.queue.aging_seconds,
    }


def _results(results: Results, folder: FilePath | None) -> dict[str, Any]:
    url = results.url or (f"file://{folder.absolute()}" if folder is not None else "")
    most = int(results.max_megabytes * MEGABYTE)
    inline = min(int(results.inline_kilobytes * KILOBYTE), most) if url else most
    return {
        "url": url,
        "keep_s": results.keep_hours * 3600,
        "inline_bytes": inline,
        "max_bytes": most,
    }


def _webhooks(webhooks: Webhooks) -> dict[str, Any]:
    return {
        "allow_http": webhooks.allow_http,
        "allowed_networks": list(webhooks.allowed_networks),
        "timeout_s": webhooks.timeout_seconds,
        "per_host": webhooks.concurrency_per_host,
        "schedule_s": list(webhooks.retry_seconds),
        "dead_letter_s": webhooks.dead_letter_days * 86_400,
    }


def retry_rules(retry: Retry) -> dict[str, Any]:
    """What retries go by; its shape is `orchestrator.lifecycle.retry.RetryRules`'."""
    return {
        "initial_s": retry.initial_milliseconds / 1000,
        "factor": retry.factor,
        "max_s": retry.max_seconds,
        "total_s": retry.total_seconds,
        "connection_attempts": retry.connection_attempts,
        "budget_ratio": retry.budget_percent / 100,
        "budget_window_s": retry.budget_window_seconds,
    }


def _predict_path(runner: PythonRunner | CommandRunner) -> str:
    return runner.predict_path if isinstance(runner, CommandRunner) else PYTHON_PREDICT_PATH


def queue_bounds(queue: Queue) -> dict[str, Any]:
    """What a permit client and a queue go by."""
    return {
        "policy": queue.policy,
        "max_requests": queue.max_requests,
        "max_bytes": int(queue.max_megabytes * MEGABYTE),
        "aging_s": queue.aging_seconds,
        "handover_s": queue.handover_milliseconds / 1000,
        "keep_s": queue.keep_seconds,
        "lease_s": queue.lease_seconds,
    }


def _keys(config: Config, env: Mapping[str, str]) -> dict[str, Any]:
    keys, problems = {}, []
    for prefix, key in config.auth.keys.items():
        path: Path = ("auth", "keys", prefix, "secret")
        try:
            keys[prefix] = _key(key, env)
        except ValueError as error:
            problems.append(Problem(config.cluster.name, None, dotted(path), str(error)))
    if problems:
        raise ConfigError(problems)
    return keys


def _key(key: ApiKey, env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(secret_of(key.secret, env).encode()).hexdigest(),
        "scopes": list(key.scopes),
        "models": key.models,
        "environments": key.environments,
    }
