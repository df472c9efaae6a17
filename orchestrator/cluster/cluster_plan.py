"""What a config asks of a cluster that is started here."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.cluster import storage
from orchestrator.cluster.records import ClusterError
from orchestrator.cluster.settings import LOOPBACK, listening
from orchestrator.config import Config, compile_serve
from orchestrator.config.cluster_wide import unfit_for_several_nodes
from orchestrator.config.store_address import EMBEDDED, EMBEDDED_VARIABLE, variable_of

READY_SECONDS = 120.0
"""How long a cluster may take until its router answers."""

_REACHED_AT = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104  # from this machine itself
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ClusterPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster to start, or the state that a running one is to be brought to."""

    name: str
    host: str
    port: int
    config_path: str
    serve: dict[str, Any]
    fixed: dict[str, Any]
    cpus: int
    store: str = EMBEDDED
    results_url: str = ""
    gpus: int | None = None
    max_connections: int = 4096
    drain_seconds: float = 2.0
    longest_request_seconds: float = 2400.0
    ready_seconds: float = READY_SECONDS
    gcs_store: str | None = None
    node_ip: str | None = None  # its address among several nodes; None: it is the only one
    labels: dict[str, str] = {}
    resources: dict[str, float] = {}
    variables: list[str] = []  # that its processes take out of the environment

    @property
    def url(self) -> str:
        """Where this machine reaches the cluster."""
        _, public = listening(self.host, self.node_ip)
        host = public or self.host
        host = (self.node_ip or _REACHED_AT[host]) if host in _REACHED_AT else host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def embedded_store(self) -> bool:
        """Whether it brings its store along; several nodes are given one by a variable."""
        return self.store == EMBEDDED and self.node_ip is None


def plan_of(
    config: Config, path: Path, env: Mapping[str, str], *, node_ip: str | None = None
) -> ClusterPlan:
    """What `config` asks of a local cluster.

    Args:
        config: a loaded config.
        path: its file.
        env: environment variables.
        node_ip: this machine's address in a cluster that others join; None: there are none.

    Raises:
        ConfigError: a secret that the config refers to is missing.
        ClusterError: the config does not fit several nodes.
    """
    cluster, router = config.cluster, config.router
    if node_ip is not None:
        _require_several(config, env)
    embedded = config.store == EMBEDDED and node_ip is None
    folder = storage.results_folder(cluster.name) if embedded else None
    serve = compile_serve(config, env, results_folder=folder)
    serve["http_options"]["host"], _ = listening(cluster.host, node_ip)
    return ClusterPlan(
        name=cluster.name,
        host=cluster.host,
        port=cluster.port,
        config_path=str(path.absolute()),
        serve=serve,
        fixed={
            **{f"cluster.{key}": value for key, value in cluster.model_dump().items()},
            "router.drain_seconds": router.drain_seconds,
            # Its processes have the address out of the environment they were started with.
            "store": config.store,
        },
        cpus=cluster.cpus or _enough_cpus(config),
        store=config.store,
        results_url=config.results.url or "",
        gpus=cluster.gpus,
        max_connections=cluster.max_connections,
        drain_seconds=router.drain_seconds,
        longest_request_seconds=config.longest_request_seconds,
        gcs_store=cluster.gcs_store,
        node_ip=node_ip,
        variables=_variables(config),
    )


def _enough_cpus(config: Config) -> int:
    """The machine's CPUs, and at least enough for routers, dispatchers and any one replica."""
    largest = max(
        deployment.resources.num_cpus
        for model in config.models.values()
        for deployment in model.deployments.values()
    )
    ours = (config.router.replicas + config.dispatcher.replicas) * 0.1
    return max(os.cpu_count() or 1, math.ceil(ours + largest))


def _require_several(config: Config, env: Mapping[str, str]) -> None:
    problems = [f"{p.path}: {p.rule}" for p in unfit_for_several_nodes(config, env)]
    if problems:
        raise ClusterError(
            f'"{config.cluster.name}" cannot be a cluster of several nodes: {"; ".join(problems)}'
        )


def _variables(config: Config) -> list[str]:
    """Environment variables that processes on every node look up."""
    store = EMBEDDED_VARIABLE if config.store == EMBEDDED else variable_of(config.store)
    values = [
        value
        for model in config.models.values()
        for deployment in model.deployments.values()
        for value in deployment.environment_variables.values()
    ]
    named = {name for value in values for name in _REFERENCE.findall(value)}
    return sorted(named | ({store} if store else set()))
