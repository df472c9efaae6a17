"""When KubeRay makes a new cluster, and when it changes the one that is there.

Of a `RayService`, `serveConfigV2` goes to the running cluster as it is. A change of
`rayClusterConfig` makes a new cluster, but for the numbers of replicas of its worker
groups, and for worker groups that are added after those that are there; see
`rayservice_controller.go` of KubeRay 1.x.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from orchestrator.planning.change import Change, Kind
from orchestrator.planning.deployed import CONTROL_PARTS, deployments_of
from orchestrator.planning.file_fields import SOFTWARE, FileField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.planning.deployed import Deployed

_PODS: Final = "pods"
_GROUPS: Final = "worker groups"
_SHAPE: Final = "(resources of a replica)"
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_NEW_CLUSTER: Final = (
    "KubeRay starts a new cluster beside this one and moves callers to it once it serves; the "
    "rest of this plan comes with it. Both need room meanwhile, or, where the gateway API is "
    "there, a step at a time (NewClusterWithIncrementalUpgrade). Asynchronous requests go on "
    "there, as the store stays; what runs on the old one has "
    "rayClusterDeletionDelaySeconds to end."
)
_GROUP_ADDED: Final = (
    "The running cluster gets another worker group, without an upgrade if it stands after those "
    "that are there; nodes start when its first replica is wanted."
)
_OTHER_NAME: Final = "It is another RayService, beside the one that runs; that one stays as it is."

_OF_THE_PODS: Final = (
    "cluster.host",
    "cluster.max_connections",
    "router.drain_seconds",
    "cluster.gcs_store",
)


def changes(old: Deployed, new: Deployed) -> Iterator[Change]:
    """What applying the rendered manifests does to the Ray cluster, beside Serve's own part."""
    name = "cluster.name"
    if _differ(old, new, name):
        field = FileField(name, old.fixed[name], new.fixed[name])
        yield Change("RayService", Kind.ADDED, (field,), _OTHER_NAME)
        return
    fields = [*_of_pods(old, new), *_lost_shapes(old, new)]
    if fields:
        yield Change(_PODS, Kind.NEW_CLUSTER, tuple(fields), _NEW_CLUSTER)
    gained = sorted(_shapes(new) - _shapes(old))
    if gained and not fields:
        shapes = tuple(FileField(_SHAPE, None, shape) for shape in gained)
        yield Change(_GROUPS, Kind.IN_PLACE, shapes, _GROUP_ADDED)


def _of_pods(old: Deployed, new: Deployed) -> Iterator[FileField]:
    """What stands in every pod: the image, its settings, its secrets, its grace period."""
    if old.version != new.version:
        yield FileField(SOFTWARE, old.version, new.version)
    for path in ("cluster.port", *_OF_THE_PODS):
        if _differ(old, new, path):
            yield FileField(path, old.fixed[path], new.fixed[path])
    if old.longest_request_s != new.longest_request_s:
        what = "(longest request, in seconds)"
        yield FileField(what, old.longest_request_s, new.longest_request_s)
    before, after = _references(old), _references(new)
    for variable in sorted(before ^ after):
        there = variable in before
        names = (f"${{{variable}}}", None) if there else (None, f"${{{variable}}}")
        yield FileField("(variables of pods)", *names)


def _lost_shapes(old: Deployed, new: Deployed) -> Iterator[FileField]:
    """Shapes of replicas that no environment has any more: their worker groups go."""
    for shape in sorted(_shapes(old) - _shapes(new)):
        yield FileField(_SHAPE, shape, None)


def _differ(old: Deployed, new: Deployed, path: str) -> bool:
    known = path in old.fixed and path in new.fixed
    return known and old.fixed[path] != new.fixed[path]


def _shapes(deployed: Deployed) -> set[str]:
    """Distinct resources of replicas, each of which has a worker group, in words."""
    return {
        _in_words(deployments_of(application)["Replica"]["ray_actor_options"])
        for name, application in deployed.applications.items()
        if name not in CONTROL_PARTS
    }


def _in_words(options: dict[str, Any]) -> str:
    """As in `num_cpus 1, num_gpus 2`; Serve gives whole numbers back with a point."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {json.dumps(value)}"
        for key, value in sorted(options.items())
        if value
    )


def _references(deployed: Deployed) -> set[str]:
    """Variables that pods get out of the Secret."""
    values: list[Any] = [deployed.table.get("store", "")]
    for name, application in deployed.applications.items():
        if name not in CONTROL_PARTS:
            values += application["args"]["replica"]["environment_variables"].values()
    return {name for value in values for name in _REFERENCE.findall(str(value))}
