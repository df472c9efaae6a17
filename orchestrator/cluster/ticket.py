"""What a machine needs to join a cluster, as one file that only its owner can read."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from orchestrator.cluster.records import ClusterError
from orchestrator.release import DISTRIBUTION, version

FILE = "join.json"


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as somebody who joins it has to know it.

    Attributes:
        cluster: its name.
        gcs_address: of Ray's control service, `host:port`.
        host: `cluster.host` of its config.
        port: public port on every node that has a router.
        url: where the first node listens.
        settings: environment variables that all nodes share.
        ray_token: without it, Ray answers nobody.
        cluster_secret: content of the file by which replicas know routers and dispatchers.
        variables: environment variables that the config refers to.
        versions: of what must be the same everywhere, by name.
    """

    cluster: str
    gcs_address: str
    host: str
    port: int
    url: str
    settings: dict[str, str]
    ray_token: str
    cluster_secret: str
    variables: list[str]
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """What this machine has of what must be the same on all nodes."""
    return {
        "Ray": metadata.version("ray"),
        "Python": platform.python_version(),
        DISTRIBUTION: version(),
    }


def read(path: Path) -> Ticket:
    """The ticket in a file.

    Raises:
        ClusterError: there is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ticket)
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ClusterError(
            f"{path} is not what `orchestrator up --node-ip` wrote for nodes to join with: {error}"
        ) from error


def require_fit(ticket: Ticket, env: Mapping[str, str] = os.environ) -> None:
    """Raise ClusterError, with all reasons, if this machine cannot be a node of the cluster."""
    own = versions()
    problems = [
        f"{name} is {own.get(name, 'missing')} here and {wanted} on the cluster"
        for name, wanted in ticket.versions.items()
        if own.get(name) != wanted
    ]
    missing = [name for name in ticket.variables if name not in env]
    if missing:
        problems.append(f"environment variables that its config refers to: set {_list(missing)}")
    if problems:
        raise ClusterError(f'cannot join "{ticket.cluster}": {"; ".join(problems)}')


def _list(names: list[str]) -> str:
    return ", ".join(sorted(names))
