"""Finding out what a cluster runs: out of Serve itself, not out of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.cluster import applications, local, member, remote
from orchestrator.cluster.records import ClusterError
from orchestrator.config import compile_serve
from orchestrator.planning.deployed import Deployed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.cluster.applications import Details
    from orchestrator.cluster.records import ClusterRecord
    from orchestrator.config import Config

_HARD_STOP: Final = "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"
_MARGIN_S: Final = 60.0
"""The load balancer's hard stop comes so long after the longest request."""


def of_cluster(record: ClusterRecord, env: Mapping[str, str]) -> Deployed:
    """What a cluster runs that `orchestrator up` started.

    Raises:
        ClusterError: it does not answer.
    """
    stop = record.settings.get(_HARD_STOP)
    return _of_details(
        member.of_record(record, env).details(),
        record.name,
        fixed=record.fixed,
        fits_requests_s=None if stop is None else float(stop) - _MARGIN_S,
    )


def of_address(
    address: str, config: Config, env: Mapping[str, str]
) -> tuple[Deployed, Deployed, list[str]]:
    """What an existing Ray cluster runs of ours, what it would run, and what is in the way.

    Raises:
        ClusterError: it does not answer, or asks for a token.
        ConfigError: a secret that the config refers to is missing.
    """
    cluster = remote.at(address, env, remote.needed_settings(config))
    details = cluster.details()
    serve = compile_serve(config, env)
    old = _of_details(details, cluster.where, fixed={})
    return old, Deployed.of(serve), applications.obstacles(serve, details)


def of_file(config: Config, path: Path, env: Mapping[str, str]) -> Deployed:
    """What `orchestrator up FILE` or `deploy FILE` would run on this machine.

    Raises:
        ConfigError: a secret that the config refers to is missing.
    """
    planned = local.plan_of(config, path, env, node_ip=local.node_ip_of(config.cluster.name))
    fits = config.longest_request_seconds
    return Deployed.of(planned.serve, planned.fixed, fits_requests_s=fits)


def _of_details(
    details: Details,
    where: str,
    *,
    fixed: Mapping[str, object],
    fits_requests_s: float | None = None,
) -> Deployed:
    """From what Serve tells.

    Raises:
        ClusterError: Serve runs something of ours and does not tell its config.
    """
    found = {}
    for name in details.ours:
        config = details.applications[name].deployed_app_config
        if config is None:
            raise ClusterError(f"{where}: Serve does not tell the config of {name}; try again")
        found[name] = config
    return Deployed(applications=found, fixed=fixed, fits_requests_s=fits_requests_s)
