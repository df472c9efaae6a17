"""Worker groups: one for each shape of replica, made from the overlay's; and the control group."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from orchestrator.kubernetes import node_choice
from orchestrator.kubernetes.documents import (
    CONTROL,
    GROUP,
    MODELS,
    pod_of,
    ray_cluster,
    ray_container,
    set_label,
    worker_group,
)
from orchestrator.kubernetes.variables import from_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.config.cluster import NodeLabels, Placement
    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.documents import Document
    from orchestrator.kubernetes.node_choice import Accelerators
    from orchestrator.kubernetes.shapes import Shape

_LOGICAL = ("num-cpus", "num-gpus", "memory", "resources")
"""Parameters of `ray start` that KubeRay refuses beside a group's `resources`."""

_DEVICES = ("nvidia.com/gpu", "amd.com/gpu")


def set_groups(
    documents: Iterable[Document], shapes: Iterable[Shape], accelerators: Accelerators
) -> None:
    """Put a group for each shape where the prototype stands, behind all others."""
    cluster = ray_cluster(documents)
    prototype = worker_group(documents, MODELS)
    others = [each for each in cluster["workerGroupSpecs"] if each is not prototype]
    made = [_group(prototype, shape, accelerators) for shape in shapes]
    cluster["workerGroupSpecs"] = [*others, *made]


def set_control(documents: Iterable[Document], config: Config) -> None:
    """Fit the control group to the number of routers, and to where the config wants it."""
    group = worker_group(documents, CONTROL)
    pods = max(group["minReplicas"], config.router.replicas)
    # Twice as many while others drain, as in a rolling update of the nodes.
    group.update(replicas=pods, minReplicas=pods, maxReplicas=2 * pods)
    _label(group, placement_labels(config.placement))


def placement_labels(placement: Placement) -> NodeLabels:
    """The labels that the control group is to have; of a contradiction, the last one said."""
    labels: NodeLabels = {}
    for part in (placement.router, placement.dispatcher, placement.queue, placement.observatory):
        labels |= part
    return labels


def _group(prototype: Document, shape: Shape, accelerators: Accelerators) -> Document:
    group = copy.deepcopy(prototype)
    resources = shape.resources
    group.update(groupName=shape.name, replicas=0, minReplicas=0, maxReplicas=shape.pods)
    group["rayStartParams"] = {
        key: value for key, value in group["rayStartParams"].items() if key not in _LOGICAL
    }
    group["resources"] = _logical(shape)
    set_label(group, GROUP, shape.name)
    _label(group, resources.node_labels)
    container, pod = ray_container(group), pod_of(group)
    device = node_choice.device(resources.accelerator_type)
    amounts = {"cpu": shape.pod_cpus, "memory": shape.pod_memory}
    if shape.gpus and device is not None:
        amounts[device] = str(shape.gpus)
    container["resources"] = {"requests": amounts, "limits": dict(amounts)}
    container["env"] = [*container.get("env", []), *map(from_secret, shape.variables)]
    _tolerate(pod, device if shape.gpus else None)
    if resources.accelerator_type is not None:
        node_choice.demand(pod, accelerators.nodes[resources.accelerator_type])
    return group


def _logical(shape: Shape) -> dict[str, str]:
    """What Ray's scheduler and autoscaler are told of a pod, before there is one."""
    resources = shape.resources
    logical = {"CPU": str(shape.ray_cpus)}
    if shape.gpus:
        logical["GPU"] = str(shape.gpus)
    if shape.ray_bytes is not None:
        logical["memory"] = str(shape.ray_bytes)
    if resources.accelerator_type is not None:
        logical[f"accelerator_type:{resources.accelerator_type}"] = "1"
    for name, amount in resources.custom.items():
        logical[name] = str(math.ceil(round(amount * shape.per_pod, 6)))
    return logical


def _label(group: Document, labels: NodeLabels) -> None:
    for key, value in labels.items():
        set_label(group, key, value)
        of_node = node_choice.of_ray_label(key)
        if of_node is not None:
            node_choice.demand(pod_of(group), {of_node: (value,)})


def _tolerate(pod: Document, device: str | None) -> None:
    """Tolerate the taint of nodes with these devices, and of no others."""
    others: list[Any] = [
        each for each in pod.get("tolerations", []) if each.get("key") not in _DEVICES
    ]
    if device is not None:
        others.append({"key": device, "operator": "Exists", "effect": "NoSchedule"})
    pod.pop("tolerations", None)
    if others:
        pod["tolerations"] = others
