"""By which rules Serve's controller restarts what it runs (ray 2.60).

From `ray/serve/_private`: an application's code version is a digest over the keys
that `get_app_code_version` of `deploy_utils.py` lists, and every deployment of the
application has it; `DeploymentVersion.requires_actor_restart` of `version.py` lists
the options of one deployment that restart its replicas. All other options reach
running replicas in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.planning.deployed import Application, deployments_of
from orchestrator.planning.differences import Difference, differences

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_CODE_VERSION: Final = ("import_path", "runtime_env", "args", "autoscaling_policy")
_OF_CODE_VERSION_PER_DEPLOYMENT: Final = ("request_router_config", "deployment_actors")

_RESTARTS_ITS_REPLICAS: Final = (
    "ray_actor_options",
    "placement_group_bundles",
    "placement_group_strategy",
    "placement_group_bundle_label_selector",
    "placement_group_fallback_strategy",
    "max_replicas_per_node",
    "gang_scheduling_config",
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What Serve does with another config of an application.

    Attributes:
        everything: differences that restart all of its deployments.
        one: by deployment, differences that restart its replicas alone.
        in_place: by deployment, differences that restart nothing.
    """

    everything: list[Difference]
    one: dict[str, list[Difference]]
    in_place: dict[str, list[Difference]]

    @property
    def restarted(self) -> set[str]:
        """Deployments whose replicas are replaced."""
        if self.everything:
            return set(self.in_place)
        return {deployment for deployment, found in self.one.items() if found}


def effect(old: Application, new: Application) -> Effect:
    """What Serve does when `new` is deployed over `old`."""
    before, after = deployments_of(old), deployments_of(new)
    names = list(dict.fromkeys((*before, *after)))
    everything = list(differences(_of_code_version(old), _of_code_version(new), exact=True))
    one: dict[str, list[Difference]] = {}
    in_place: dict[str, list[Difference]] = {}
    for name in names:
        one[name], in_place[name] = [], []
        for found in differences(before.get(name, {}), after.get(name, {}), (name,)):
            option = found.place[1]
            if _is_of_code_version(found):
                continue
            restarts = option in _RESTARTS_ITS_REPLICAS
            (one if restarts else in_place)[name].append(found)
    return Effect(everything, one, in_place)


def _of_code_version(application: Application) -> dict[str, Any]:
    chosen = {key: application[key] for key in _OF_CODE_VERSION if key in application}
    deployments = deployments_of(application)
    return chosen | {name: _heavy(options) for name, options in deployments.items()}


def _heavy(options: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {key: options[key] for key in _OF_CODE_VERSION_PER_DEPLOYMENT if key in options}
    autoscaling = options.get("autoscaling_config")
    if isinstance(autoscaling, dict) and "policy" in autoscaling:
        chosen["autoscaling_config"] = {"policy": autoscaling["policy"]}
    return chosen


def _is_of_code_version(found: Difference) -> bool:
    policy = found.place[1:3] == ("autoscaling_config", "policy")
    return policy or found.place[1] in _OF_CODE_VERSION_PER_DEPLOYMENT
