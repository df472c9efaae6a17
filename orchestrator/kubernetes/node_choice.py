"""Which nodes a pod may have: by the kind of accelerator, by labels.

Accelerators are Ray's names of them. Known without being told are those that one
label of NVIDIA's GPU feature discovery stands for; an H100, say, is one of several
products, so somebody has to say which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.kubernetes.documents import Document

Requirements = dict[str, tuple[str, ...]]
"""Values that a label of a Kubernetes node may have, by the label."""

NVIDIA_PRODUCT: Final = "nvidia.com/gpu.product"
KNOWN: Final[Mapping[str, Requirements]] = {
    "A10G": {NVIDIA_PRODUCT: ("NVIDIA-A10G",)},
    "L4": {NVIDIA_PRODUCT: ("NVIDIA-L4",)},
    "L40S": {NVIDIA_PRODUCT: ("NVIDIA-L40S",)},
    "T4": {NVIDIA_PRODUCT: ("Tesla-T4",)},
}
_RAY_LABELS: Final = {
    "ray.io/availability-zone": "topology.kubernetes.io/zone",
    "ray.io/availability-region": "topology.kubernetes.io/region",
}
_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_KEY: Final = re.compile(rf"({_VALUE.pattern}/)?{_VALUE.pattern}")
_OTHER_DEVICES: Final = ("TPU-", "aws-neuron", "Ascend", "Intel-", "MXC", "FURIOSA", "MOBILINT")


@dataclass(frozen=True)
class Accelerators:
    """Labels of Kubernetes nodes by the accelerator that they have."""

    nodes: Mapping[str, Requirements] = field(default_factory=lambda: dict(KNOWN))

    @classmethod
    def given(cls, options: Iterable[str]) -> Accelerators:
        """Those known, and what was said on the command line, which goes before.

        Args:
            options: each `TYPE=LABEL=VALUE`; several values of one label are any of
                them, several labels all of them.

        Raises:
            ValueError: one of them has another form.
        """
        said: dict[str, Requirements] = {}
        for option in options:
            kind, label, value = (*option.split("="), "", "")[:3]
            if option.count("=") != 2 or not (
                kind and _KEY.fullmatch(label) and _VALUE.fullmatch(value)
            ):
                raise ValueError(
                    f"{option!r} must be TYPE=LABEL=VALUE, as in "
                    f"H100={NVIDIA_PRODUCT}=NVIDIA-H100-80GB-HBM3"
                )
            labels = said.setdefault(kind, {})
            labels[label] = (*labels.get(label, ()), value)
        return cls({**KNOWN, **said})


def device(accelerator: str | None) -> str | None:
    """The resource that a device plugin offers such accelerators as; None: not one known here."""
    if accelerator is None:
        return "nvidia.com/gpu"
    if accelerator.startswith("AMD-"):
        return "amd.com/gpu"
    return None if accelerator.startswith(_OTHER_DEVICES) else "nvidia.com/gpu"


def of_ray_label(key: str) -> str | None:
    """The label of Kubernetes nodes that says what Ray's does; None: none does."""
    if key.startswith("ray.io/"):
        return _RAY_LABELS.get(key)
    return key


def is_plain(value: str) -> bool:
    """Whether a selector of Ray's is one value, which a node can be given."""
    return bool(_VALUE.fullmatch(value)) and not value.startswith("in(")


def demand(pod: Document, requirements: Mapping[str, tuple[str, ...]]) -> None:
    """Let a pod run only on nodes that have these labels, besides what it asks for already."""
    several = []
    for key, values in requirements.items():
        if len(values) == 1:
            pod.setdefault("nodeSelector", {})[key] = values[0]
        else:
            several.append({"key": key, "operator": "In", "values": list(values)})
    if several:
        affinity = pod.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        terms = affinity.setdefault(
            "requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": [{}]}
        )["nodeSelectorTerms"]
        for term in terms:
            term["matchExpressions"] = [*term.get("matchExpressions", []), *several]
