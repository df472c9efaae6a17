"""What a config says that Kubernetes cannot be told, all of it at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from orchestrator.config.cluster_wide import unfit_for_several_nodes
from orchestrator.config.problems import Problem, dotted, shown
from orchestrator.config.store_address import EMBEDDED_VARIABLE
from orchestrator.kubernetes import node_choice
from orchestrator.kubernetes.serving import own_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.config.cluster import NodeLabels
    from orchestrator.config.deployment import Resources
    from orchestrator.config.problems import Broken, Path
    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.node_choice import Accelerators

_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE: Final = re.compile(
    r"[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})"
)
_OURS: Final = "orchestrator.dev/"


def problems(
    config: Config,
    env: Mapping[str, str],
    *,
    accelerators: Accelerators,
    namespace: str,
    image: str | None,
    most_gpus: int | None,
) -> list[Problem]:
    """Why this cannot be rendered; empty where it can.

    Args:
        config: a loaded config.
        env: environment variables, for the store's address.
        accelerators: which nodes have which.
        namespace: for all of it.
        image: of all pods of Ray; None: the overlay's.
        most_gpus: of one node; None: not known.
    """
    known = {**env, EMBEDDED_VARIABLE: "redis://store:6379/0"} if own_store(config) else env
    broken = [
        *_names(namespace, image),
        *_placement(config),
        *_models(config, accelerators, most_gpus),
    ]
    return [
        *unfit_for_several_nodes(config, known),
        *(Problem(config.cluster.name, None, dotted(p), r, g) for p, r, g in broken),
    ]


def _names(namespace: str, image: str | None) -> Iterator[Broken]:
    if not _NAMESPACE.fullmatch(namespace):
        rule = (
            "must be a name that Kubernetes allows: 1 to 63 lower-case letters, digits and "
            "hyphens, with a letter or a digit at both ends"
        )
        yield ("--namespace",), rule, shown(namespace)
    if image is not None and (not _IMAGE.fullmatch(image) or image.endswith(":latest")):
        rule = "must be an image with a tag (not latest) or a digest, as in registry/name:1.2.3"
        yield ("--image",), rule, shown(image)


def _placement(config: Config) -> Iterator[Broken]:
    said: dict[str, tuple[str, str]] = {}
    for part in ("router", "dispatcher", "queue", "observatory"):
        labels: NodeLabels = getattr(config.placement, part)
        yield from _labels(labels, ("placement", part))
        for key, value in labels.items():
            before, other = said.setdefault(key, (value, part))
            if before != value:
                rule = (
                    f"must be as of placement.{other} ({shown(before)}): on Kubernetes one group "
                    "of pods runs these parts"
                )
                yield ("placement", part, key), rule, shown(value)


def _labels(labels: NodeLabels, path: Path) -> Iterator[Broken]:
    for key, value in labels.items():
        here = (*path, key)
        if key.startswith(_OURS):
            yield here, "must be a label of your own: the manifests set this one", shown(value)
        elif key == "ray.io/accelerator-type":
            yield here, "must be said as resources.accelerator_type on Kubernetes", shown(value)
        elif node_choice.of_ray_label(key) is None:
            rule = "must be a label of your own: no label of Kubernetes' nodes says the same"
            yield here, rule, shown(value)
        elif not node_choice.is_plain(value):
            rule = "must be one value on Kubernetes: the pods of a group all have the same"
            yield here, rule, shown(value)


def _models(config: Config, accelerators: Accelerators, most_gpus: int | None) -> Iterator[Broken]:
    for name, model in config.models.items():
        used = {environment.deployment for environment in model.environments.values()}
        for deployment in (each for each in model.deployments if each in used):
            path: Path = ("models", name, "deployments", deployment, "resources")
            resources = model.deployments[deployment].resources
            yield from _labels(resources.node_labels, (*path, "node_labels"))
            yield from _accelerator(resources, path, accelerators)
            yield from _amounts(resources, path, most_gpus)


def _accelerator(resources: Resources, path: Path, accelerators: Accelerators) -> Iterator[Broken]:
    kind = resources.accelerator_type
    if kind is None:
        return
    here = (*path, "accelerator_type")
    if node_choice.device(kind) is None:
        yield here, "must be a GPU of NVIDIA or AMD: pods cannot ask for others here", shown(kind)
    elif kind not in accelerators.nodes:
        rule = (
            f"must be one of {', '.join(sorted(accelerators.nodes))}, or its nodes must be named: "
            f"--accelerator {kind}=LABEL=VALUE, with what `kubectl get nodes -L "
            f"{node_choice.NVIDIA_PRODUCT}` shows"
        )
        yield here, rule, shown(kind)


def _amounts(resources: Resources, path: Path, most_gpus: int | None) -> Iterator[Broken]:
    if most_gpus is not None and resources.num_gpus > most_gpus:
        rule = f"must be at most --max-gpus-per-node ({most_gpus}): a replica is in one pod"
        yield (*path, "num_gpus"), rule, f"{resources.num_gpus:g}"
    if not resources.num_cpus and not resources.num_gpus:
        rule = "must be above 0 on Kubernetes, or num_gpus must: it says how many share a pod"
        yield (*path, "num_cpus"), rule, "0"
    for name in resources.custom:
        if name.lower().endswith("gpu") or name == "TPU":
            rule = "must have another name: KubeRay takes this one for a GPU's or TPU's"
            yield (*path, "custom", name), rule, None
