"""Ray clusters that somebody else started: deploying to them, and leaving them as they were.

An address is the dashboard's URL (`http://head:8265`), or that of Ray's control
service (`head:6379`, or `auto`), for which this machine has to be a node of the
cluster. Nothing of such a cluster is recorded or owned here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.cluster import applications, preflight
from orchestrator.cluster.dashboard import Dashboard, token_of
from orchestrator.cluster.member import Member, is_gcs_address
from orchestrator.cluster.membership import DEAD
from orchestrator.cluster.records import ClusterError
from orchestrator.cluster.settings import shared_settings
from orchestrator.cluster.supervisor import ROUTER_APPLICATION, readiness
from orchestrator.config import compile_serve
from orchestrator.config.cluster import is_loopback
from orchestrator.config.cluster_wide import unfit_for_several_nodes
from orchestrator.config.store_address import EMBEDDED
from orchestrator.release import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cluster.membership import Node
    from orchestrator.config import Config

    RayCluster = Dashboard | Member

READY_SECONDS: Final = 300.0
"""How long routers may take: nodes may have to be started for them."""

_RAY: Final = "2.60."
"""What the pinned release's versions begin with; others run Serve differently."""

_UNREACHABLE_SECONDS: Final = 30.0
"""How long routers may run before it counts that nobody here reaches them."""

_POLL_SECONDS: Final = 0.5
_PROBED: Final = 3
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound
_OPTIONAL: Final = frozenset({"RAY_SERVE_PORT_QUARANTINE_S"})
"""Settings whose default is right but for clusters that are deployed to all the time."""

_FAILED: Final = ("DEPLOY_FAILED", "UNHEALTHY")


class Deployed(msgspec.Struct, frozen=True):
    """What a deployment did.

    Attributes:
        kept: applications of others, which were in Serve's config and stay there.
        remarks: what the caller should know, in sentences.
    """

    kept: list[str]
    remarks: list[str]


def at(
    address: str, env: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> RayCluster:
    """The Ray cluster at an address.

    Args:
        address: a dashboard's URL, `host:port` of a GCS, or `auto`.
        env: environment variables; Ray's token is looked for there.
        settings: environment variables that a process which talks to it needs, where
            `env` does not say otherwise.

    Raises:
        ClusterError: it is no such address, or `auto` and no cluster is known here.
    """
    if address.startswith(("http://", "https://")):
        return Dashboard(address, token_of(env))
    if address != "auto" and not is_gcs_address(address):
        raise ClusterError(
            f"{address!r} is no address of a Ray cluster: say the dashboard's URL "
            "(http://head:8265), or, on a node of it, its GCS address (head:6379) or auto"
        )
    own = {**(settings or {}), **env}
    if token_of(env) is not None:
        own.setdefault("RAY_AUTH_MODE", "token")
    return Member(address, own)


def deploy(config: Config, cluster: RayCluster, env: Mapping[str, str]) -> Deployed:
    """Bring an existing Ray cluster to what a config declares, if it can run that.

    Args:
        config: a loaded config.
        cluster: where to.
        env: environment variables, for the secrets that the config refers to.

    Raises:
        ClusterError: it cannot be reached, lacks something, or runs something that is
            in the way; nothing was changed.
        ConfigError: a secret that the config refers to is missing.
    """
    serve = compile_serve(config, env)
    remarks = _check(config, cluster, env)
    details = cluster.details()
    in_the_way = applications.obstacles(serve, details)
    if in_the_way:
        raise ClusterError(_listed(f"cannot deploy to {cluster.where}:", in_the_way))
    cluster.apply(applications.combined(serve, details))
    return Deployed(kept=sorted(details.others), remarks=remarks)


def undeploy(cluster: RayCluster) -> tuple[list[str], list[str]]:
    """Delete our applications; they finish their requests first.

    Returns:
        Names of the applications that go, and of those of others that stay.

    Raises:
        ClusterError: it cannot be reached, or what others run could not be kept.
    """
    details = cluster.details()
    if details.ours:
        cluster.apply(applications.without_ours(details))
    staying = set(details.applications) - set(details.ours)
    return sorted(details.ours), sorted(staying)


def await_router(config: Config, cluster: RayCluster, seconds: float = READY_SECONDS) -> str:
    """Wait until a router says that it can take requests.

    Returns:
        The URL at which it said so.

    Raises:
        ClusterError: Serve gave up on it, or it did not say so in time.
    """
    end = time.monotonic() + seconds
    running_since: float | None = None
    said = "Serve has not deployed it yet"
    while time.monotonic() < end:
        details = cluster.details()
        router = details.applications.get(ROUTER_APPLICATION)
        if router is not None and router.status in _FAILED:
            raise ClusterError(f"the router could not be deployed: {router.message.strip()}")
        for url in _entrances(config, cluster, details):
            said = readiness(url)
            if not said:
                return url
            said = f"{url}/readyz: {said}"
        if router is not None and router.status == "RUNNING":
            running_since = running_since or time.monotonic()
            if time.monotonic() - running_since > _UNREACHABLE_SECONDS:
                raise ClusterError(f"the router runs, but cannot be reached from here: {said}")
        time.sleep(_POLL_SECONDS)
    raise ClusterError(f"the router was not ready within {seconds:.0f} s: {said}")


def needed_settings(config: Config) -> dict[str, str]:
    """Serve's environment variables that every node of a cluster with this config needs.

    Of Ray's own, such as its token, whoever started the cluster decides.
    """
    settings = shared_settings(
        max_connections=config.cluster.max_connections,
        drain_seconds=config.router.drain_seconds,
        longest_request_seconds=config.longest_request_seconds,
    )
    return {
        name: value
        for name, value in settings.items()
        if name.startswith("RAY_SERVE_") and name not in _OPTIONAL
    }


def _check(config: Config, cluster: RayCluster, env: Mapping[str, str]) -> list[str]:
    """Remarks on a cluster that can run the config; raises ClusterError on one that cannot."""
    nodes = [node for node in cluster.nodes() if node.state != DEAD]
    unfit = _unfit(config, cluster, nodes, env)
    if unfit:
        raise ClusterError(_listed(f"{config.cluster.name} cannot run on several nodes:", unfit))
    remarks = [
        f"no node that is there now could hold a replica of {name}"
        for name in preflight.nowhere(config, nodes)
    ]
    if isinstance(cluster, Dashboard):
        ray = cluster.ray_version()
        if not ray.startswith(_RAY):
            raise ClusterError(f"{cluster.where} runs Ray {ray}; this release is for {_RAY}x")
        return [*remarks, "the nodes' own settings cannot be seen through the dashboard"]
    settings = needed_settings(config)
    answers = cluster.survey(preflight.question(config, settings))
    lacks = preflight.lacks(config, settings, version(), nodes, answers)
    if lacks:
        raise preflight.UnfitNodesError(lacks)
    return remarks


def _unfit(
    config: Config, cluster: RayCluster, nodes: list[Node], env: Mapping[str, str]
) -> list[str]:
    if len(nodes) == 1 and is_loopback(nodes[0].address):
        return []
    # Whether they know the address of a store is what the nodes themselves are asked.
    asked = isinstance(cluster, Member) and config.store == EMBEDDED
    problems = unfit_for_several_nodes(config, env)
    return [str(found) for found in problems if not (asked and found.path == "store")]


def _entrances(config: Config, cluster: RayCluster, details: applications.Details) -> list[str]:
    """URLs at which requests may go in; a few, as each may have to be waited for."""
    host = config.cluster.host
    hosts = [host]
    if host in _ANY:
        proxies = (details.proxies or {}).values()
        hosts = [proxy["node_ip"] for proxy in proxies if proxy.get("status") == "HEALTHY"]
        hosts = [*([cluster.host] if isinstance(cluster, Dashboard) else []), *hosts][:_PROBED]
    port = config.cluster.port
    return [f"http://[{each}]:{port}" if ":" in each else f"http://{each}:{port}" for each in hosts]


def _listed(head: str, lines: list[str]) -> str:
    return "\n".join([head, *(f"  {line}" for line in lines)])
