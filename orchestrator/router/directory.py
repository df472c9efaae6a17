"""What leads where: the routing table with its endpoints, ready for lookups.

Made anew for every routing table and never changed, so that a request sees one
table from its beginning to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import (
    UnknownAddress,
    UnknownDeployment,
    UnknownEnvironment,
    UnknownModel,
)
from orchestrator.router.auth import UNLIMITED, Keyring, Reach
from orchestrator.router.targets import (
    Action,
    Target,
    async_request_at,
    model_of_host,
    parse_target,
    split_model,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.table import RoutingTable

PRODUCTION = "production"
DEVELOPMENT = "development"

_LISTED: Final = (
    Action.PREDICT,
    Action.WAKE,
    Action.ASYNC_PREDICT,
    Action.ASYNC_QUEUE_STATUS,
    Action.ASYNC_REQUESTS,
)
"""Actions whose addresses are the same for all callers."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        endpoint: the environment.
        action: what is asked of it.
        path: on the replica's own server, raw; for `ASYNC_REQUEST` the request's id;
            empty for all else.
    """

    endpoint: Endpoint
    action: Action
    path: bytes


@dataclass(frozen=True, slots=True)
class RequestAddress:
    """An asynchronous request, as an address names it.

    Attributes:
        request_id: as it was asked for; may be anything.
        model: that it must belong to; None: to any.
        environment: that it must belong to; None: to any.
    """

    request_id: str
    model: str | None = None
    environment: str | None = None


class Directory:
    """Lookups over one routing table.

    Attributes:
        table: as configured.
        exact: routes by their raw path, for all that can be listed beforehand.
    """

    def __init__(self, table: RoutingTable, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self.table = table
        self._endpoints = dict(endpoints)
        self._keyring = None if table.auth is None else Keyring(table.auth)
        self.exact: dict[bytes, Route] = {}
        for (model, name), endpoint in self._endpoints.items():
            targets = [f"environments/{name}"]
            if name in (PRODUCTION, DEVELOPMENT):
                targets.append(name)
            for target in targets:
                path = f"/models/{model}/{target}/"
                for action in _LISTED:
                    self.exact[f"{path}{action}".encode()] = _route(endpoint, action)

    def authorize(self, authorization: bytes | None) -> Reach:
        """What the caller may do; raises `Unauthorized`."""
        return UNLIMITED if self._keyring is None else self._keyring.check(authorization)

    def find(self, path: bytes, host: bytes, reach: Reach) -> Route | None:
        """The route of an address that names a target; None for any other address.

        Raises:
            NotFound: it has the form of one, and leads nowhere.
            Forbidden: the caller does not reach it.
        """
        mounted = split_model(path)
        if mounted is not None:
            model, rest = mounted
        elif (hosted := model_of_host(host)) is not None:
            model, rest = hosted, path
        else:
            return None
        target = parse_target(rest)
        if target is None:
            if mounted is None:
                return None
            raise UnknownAddress(path.decode("latin-1"))
        endpoint = self._resolve(model, target, reach)
        return _route(endpoint, target.action, target.rest)

    def find_request(self, path: bytes, host: bytes, reach: Reach) -> RequestAddress | None:
        """The asynchronous request that `/async_request/{id}` names, also mounted on a model.

        None for any other address. Raises as `find`.
        """
        model, rest = split_model(path) or (model_of_host(host), path)
        request_id = async_request_at(rest)
        if request_id is None:
            return None
        if model is not None:
            reach.demand_model(model)
            if model not in self.table.models:
                raise UnknownModel(model, self.models(reach))
        return RequestAddress(request_id.decode("latin-1"), model)

    def find_named(self, name: str, reach: Reach) -> Endpoint:
        """The environment that a body's `model` names: `m` or `m/env`.

        Raises:
            UnknownModel, UnknownEnvironment: there is none.
            Forbidden: the caller does not reach it.
        """
        model, _, environment = name.partition("/")
        return self.environment(model, environment or PRODUCTION, reach)

    def environment(self, model: str, name: str, reach: Reach) -> Endpoint:
        """An environment by its model's and its own name; raises as `find_named`."""
        reach.demand_model(model)
        if model not in self.table.models:
            raise UnknownModel(model, self.models(reach))
        reach.demand_environment(name)
        endpoint = self._endpoints.get((model, name))
        if endpoint is None:
            raise UnknownEnvironment(model, name, self.environments(model, reach))
        return endpoint

    def models(self, reach: Reach) -> list[str]:
        """Names of the models that a caller may know of, sorted."""
        return sorted(name for name in self.table.models if reach.sees_model(name))

    def environments(self, model: str, reach: Reach) -> list[str]:
        """Names of a model's environments that a caller may know of, sorted."""
        names = self.table.models[model].environments
        return sorted(name for name in names if reach.sees_environment(name))

    def _resolve(self, model: str, target: Target, reach: Reach) -> Endpoint:
        if target.deployment is None:
            return self.environment(model, target.environment or PRODUCTION, reach)
        reach.demand_model(model)
        if model not in self.table.models:
            raise UnknownModel(model, self.models(reach))
        # Where several environments run it, production is meant, else the first by name.
        names = sorted(self.environments(model, reach), key=lambda name: (name != PRODUCTION, name))
        environments = self.table.models[model].environments
        for name in names:
            if environments[name].deployment == target.deployment:
                return self._endpoints[model, name]
        running = sorted({environments[name].deployment for name in names})
        raise UnknownDeployment(model, target.deployment, running)


def _route(endpoint: Endpoint, action: Action, rest: bytes = b"") -> Route:
    if action is Action.PREDICT:
        return Route(endpoint, action, endpoint.settings.predict_path.encode("ascii"))
    return Route(endpoint, action, rest)
