"""What a cluster runs, or would run: compiled, so that a file edited since does not matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.schema import LONGEST_POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUTER: Final = "router"
DISPATCHER: Final = "dispatcher"
OBSERVATORY: Final = "observatory"
CONTROL_PARTS: Final = (ROUTER, DISPATCHER, OBSERVATORY)

_OURS: Final = "orchestrator."
"""What the import paths of our applications begin with."""

Application = dict[str, Any]
"""A `ServeApplicationSchema` as JSON, with the fields that were set and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One state of a cluster.

    Attributes:
        applications: ours, by name. Applications of other people are left out.
        fixed: what is set when the cluster starts, by its path in the file; empty
            where that is not known.
        fits_requests_s: the longest request that its load balancer was started for,
            in seconds; None where that is not known.
    """

    applications: Mapping[str, Application]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    fits_requests_s: float | None = None

    @classmethod
    def of(
        cls,
        serve: Mapping[str, Any],
        fixed: Mapping[str, Any] | None = None,
        *,
        fits_requests_s: float | None = None,
    ) -> Deployed:
        """From a `ServeDeploySchema` as a dict, which is what a config compiles to."""
        ours = {
            application["name"]: application
            for application in serve["applications"]
            if str(application.get("import_path", "")).startswith(_OURS)
        }
        return cls(applications=ours, fixed=fixed or {}, fits_requests_s=fits_requests_s)

    @property
    def table(self) -> dict[str, Any]:
        """The routing table; empty where no router is deployed."""
        options = deployments_of(self.applications.get(ROUTER, {})).get("Router", {})
        table: dict[str, Any] = options.get("user_config", {})
        return table

    @property
    def longest_request_s(self) -> float:
        """The longest that any call may take: waiting for a slot, then running."""
        timeouts: list[float] = [
            environment["timeouts"]["park_s"] + environment["timeouts"]["predict_s"]
            for model in self.table.get("models", {}).values()
            for environment in model["environments"].values()
        ]
        return max([LONGEST_POLL_SECONDS, *timeouts])

    @property
    def version(self) -> str | None:
        """The release of this software that its routers were started with."""
        version: str | None = self.applications.get(ROUTER, {}).get("args", {}).get("version")
        return version


def deployments_of(application: Application) -> dict[str, dict[str, Any]]:
    """An application's deployments by name, with the options that the config sets."""
    return {options["name"]: options for options in application.get("deployments", ())}


def environment_of(name: str) -> str:
    """How people call an environment: `model/environment`, by its application's name."""
    model, _, environment = name.partition(".")
    return f"{model}/{environment}"
