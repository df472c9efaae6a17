"""What Serve runs on a cluster, and changing our part of it without touching the rest.

Serve takes a config whole: applications that came from an earlier config and are not
in the new one are deleted [Serve's `apply_app_configs`]. So those of others go into
what is sent, just as they were; a change that others make between our reading and our
writing is lost, which is Serve's way for everybody. Applications that were started
from code (`serve.run`) are not affected.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.cluster.records import ClusterError

DECLARED: Final = "declarative"
"""Source of an application that came from a config."""

_OURS: Final = frozenset(
    f"orchestrator.{module}:build_app"
    for module in (
        "router.application",
        "dispatcher.application",
        "observatory.application",
        "environment",
    )
)
_HTTP_DEFAULTS: Final = {"host": "127.0.0.1", "port": 8000}
"""What Serve listens on where nothing else was said [Serve's `HTTPOptions`]."""

_REDACTED: Final = "<redacted>"
_GONE: Final = "DELETING"


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application, as Serve's REST API describes it."""

    status: str
    message: str = ""
    route_prefix: str | None = None
    source: str = ""
    deployed_app_config: dict[str, Any] | None = None
    deployments: dict[str, dict[str, Any]] = {}

    @property
    def ours(self) -> bool:
        """Whether this package's code is what runs."""
        return (self.deployed_app_config or {}).get("import_path") in _OURS


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What Serve runs (`GET /api/serve/applications/`).

    Attributes:
        http_options: as Serve was started with; None where it does not run.
        proxy_location: the same.
        applications: by name.
        proxies: by the id of their node.
        target_capacity: percentage of all replicas that Serve is told to run.
    """

    http_options: dict[str, Any] | None = None
    proxy_location: str | None = None
    applications: dict[str, Application] = {}
    proxies: dict[str, dict[str, Any]] | None = None
    target_capacity: float | None = None

    @property
    def others(self) -> dict[str, Application]:
        """Applications that came from a config, not from ours."""
        return {
            name: found
            for name, found in self.applications.items()
            if not found.ours and found.source == DECLARED and found.status != _GONE
        }

    @property
    def ours(self) -> list[str]:
        """Names of our applications, without those that are on their way out."""
        return [n for n, found in self.applications.items() if found.ours and found.status != _GONE]


def read(described: object) -> Details:
    """The details out of their JSON; null stands for a Serve that does not run.

    Raises:
        msgspec.ValidationError: it is not what Serve tells.
    """
    return msgspec.convert(described or {}, Details, strict=False)


def obstacles(serve: dict[str, Any], details: Details) -> list[str]:
    """Why a compiled config cannot be deployed beside what runs; empty where it can."""
    found = [*_clashes(serve, details), *_unknown(details)]
    current, wanted = details.http_options, serve["http_options"]
    if current is None:
        return found
    for option, default in _HTTP_DEFAULTS.items():
        has = current.get(option, default)
        if has != wanted[option]:
            found.append(
                f"Serve runs there with {option} {has!r}, which cannot change while it "
                f"runs; set cluster.{option} to it, or end Serve first (`serve shutdown`), "
                f"with all that it runs; got {wanted[option]!r}"
            )
    if details.proxy_location == "Disabled":
        found.append("Serve runs there without proxies, so nobody could call; end it first")
    return found


def combined(serve: dict[str, Any], details: Details) -> dict[str, Any]:
    """A compiled config with the applications of others added as they are."""
    return {
        **serve,
        "applications": [*serve["applications"], *_configs(details)],
        "target_capacity": details.target_capacity,
    }


def without_ours(details: Details) -> dict[str, Any]:
    """A config that deletes our applications and keeps those of others.

    Raises:
        ClusterError: what others run cannot be read, so it could not be kept.
    """
    unknown = _unknown(details)
    if unknown:
        raise ClusterError("; ".join(unknown))
    options = {"host", "port"} & set(details.http_options or {})
    return {
        "proxy_location": details.proxy_location or "EveryNode",
        "http_options": {option: (details.http_options or {})[option] for option in options},
        "applications": _configs(details),
        "target_capacity": details.target_capacity,
    }


def longest_stop_seconds(details: Details) -> float | None:
    """The longest that a deployment of ours may take to finish its requests; None: none runs."""
    allowed = [
        float(deployment["deployment_config"]["graceful_shutdown_timeout_s"])
        for name in details.ours
        for deployment in details.applications[name].deployments.values()
    ]
    return max(allowed, default=None)


def _configs(details: Details) -> list[dict[str, Any]]:
    return [found.deployed_app_config or {} for found in details.others.values()]


def _clashes(serve: dict[str, Any], details: Details) -> list[str]:
    wanted = {
        application["name"]: application["route_prefix"] for application in serve["applications"]
    }
    found = []
    for name, other in details.applications.items():
        if other.ours or other.status == _GONE:
            continue
        if name in wanted:
            found.append(
                f'an application "{name}" that is not ours runs there; delete or rename it'
            )
        elif other.route_prefix is not None and other.route_prefix in wanted.values():
            found.append(
                f'the application "{name}" has the route {other.route_prefix}, which the router '
                "needs; give it another one"
            )
    return found


def _unknown(details: Details) -> list[str]:
    """Others' applications that would be lost, as their config is not told."""
    return [
        f'the config of the application "{name}", which is not ours, cannot be read now, so '
        "deploying would change it; try again when it is deployed"
        for name, other in details.others.items()
        if other.deployed_app_config is None or _REDACTED in str(other.deployed_app_config)
    ]
