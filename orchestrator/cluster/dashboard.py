"""A Ray cluster as its dashboard shows it to a program: Serve's REST API and the nodes.

Works from anywhere that reaches the dashboard. It cannot say what a node's own
processes have, what is in use, or drain a node: for that there is the GCS address.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from orchestrator.cluster import applications
from orchestrator.cluster.membership import ALIVE, DEAD, Node, parts_of
from orchestrator.cluster.records import ClusterError
from orchestrator.release import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cluster.applications import Details

_SERVE: Final = "/api/serve/applications/"
_NODES: Final = "/api/v0/nodes?detail=true&limit=10000"
_VERSION: Final = "/api/ray/version"
_SECONDS: Final = 20.0
_APPLY_SECONDS: Final = 90.0
"""Serve may have to be started, which waits for its proxies."""

_LONGEST_REASON: Final = 300


class Dashboard:
    """One dashboard; every method may raise ClusterError, which says what it answered."""

    def __init__(self, url: str, token: str | None) -> None:
        """Asks nothing yet.

        Args:
            url: `http://head:8265`, or https.
            token: Ray's, where it asks for one.
        """
        self.where = url.rstrip("/")
        self._headers = {"user-agent": f"orchestrator/{version()}"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    @property
    def host(self) -> str:
        """The dashboard's own, which may also be where requests go in."""
        return urlsplit(self.where).hostname or ""

    def ray_version(self) -> str:
        """Which Ray runs there."""
        return str(self._ask("GET", _VERSION).get("ray_version", "unknown"))

    def details(self) -> Details:
        """What Serve runs."""
        try:
            return applications.read(self._ask("GET", _SERVE))
        except msgspec.ValidationError as error:
            raise ClusterError(
                f"{self.where}{_SERVE}: not what Ray Serve tells: {error}"
            ) from error

    def apply(self, serve: dict[str, Any]) -> None:
        """Hand Serve a config; it is started where it does not run."""
        self._ask("PUT", _SERVE, serve, seconds=_APPLY_SECONDS)

    def nodes(self) -> list[Node]:
        """Its nodes, the head first. What is in use, and whether a node drains, is not told."""
        rows = self._ask("GET", _NODES)["data"]["result"]["result"]
        actors = _actors(self.details())
        found = [
            Node(
                id=row["node_id"],
                address=row["node_ip"],
                name=row["node_name"],
                state=ALIVE if row["state"] == "ALIVE" else DEAD,
                head=bool(row["is_head_node"]),
                total={
                    k: v for k, v in row["resources_total"].items() if not k.startswith("node:")
                },
                labels=row["labels"],
                parts=parts_of(actors.get(row["node_id"], ())),
            )
            for row in rows
        ]
        return sorted(found, key=lambda node: (not node.head, node.state == DEAD, node.address))

    def _ask(
        self, method: str, path: str, body: object = None, *, seconds: float = _SECONDS
    ) -> Any:
        headers = {**self._headers, "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            f"{self.where}{path}", data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ClusterError(self._refusal(path, error)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ClusterError(f"nothing answers at {self.where}: {reason}") from error
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise ClusterError(f"{self.where} is no Ray dashboard: {path} is not JSON") from error

    def _refusal(self, path: str, error: urllib.error.HTTPError) -> str:
        said = " ".join(error.read(4 * _LONGEST_REASON).decode(errors="replace").split())
        if error.code == 401:
            return (
                f"{self.where} asks for Ray's token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH "
                "to a file that has it"
            )
        if error.code == 403:
            return f"{self.where} refuses Ray's token, which is another cluster's or an old one"
        if error.code == 404:
            return f"{self.where} is no Ray dashboard, or Serve is not installed there: no {path}"
        return f"{self.where}{path} answered {error.code}: {said[:_LONGEST_REASON]}"


def token_of(env: Mapping[str, str]) -> str | None:
    """Ray's token, as Ray's own commands find it; None where there is none.

    Raises:
        ClusterError: a file is named that cannot be read.
    """
    if env.get("RAY_AUTH_TOKEN"):
        return env["RAY_AUTH_TOKEN"].strip()
    named = env.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if not named and not (env.get("RAY_AUTH_MODE") == "token" and path.is_file()):
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClusterError(f"RAY_AUTH_TOKEN_PATH: {path}: {error.strerror}") from error


def _actors(details: Details) -> dict[str, list[str]]:
    """Names of Serve's actors by the id of their node."""
    found: dict[str, list[str]] = {}
    deployments = (
        deployment
        for application in details.applications.values()
        for deployment in application.deployments.values()
    )
    for actor in (
        *(details.proxies or {}).values(),
        *(replica for deployment in deployments for replica in deployment["replicas"]),
    ):
        if actor.get("node_id") and actor.get("actor_name"):
            found.setdefault(actor["node_id"], []).append(actor["actor_name"])
    return found
