"""What pods models need: one shape for each distinct set of resources.

A pod holds one replica, or, where replicas ask for a part of a GPU or CPU, as many
as share it. Ray is told what replicas may take; the pod has more, for Ray itself.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.config.section import GIGABYTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.config.deployment import Deployment, Resources
    from orchestrator.config.environment import Environment
    from orchestrator.config.schema import Config

SURGE_PERCENT: Final = 25
"""Replicas that a rollout adds for its time, as `compile_serve` has it."""

_RAY_CPUS: Final = 0.5
_RAY_BYTES: Final = 1_500_000_000
"""A raylet, its agents, 200 MB of object store and idle workers."""

_UNTOLD_GIGABYTES_PER_GPU: Final = 16
_UNTOLD_GIGABYTES_PER_CPU: Final = 2
_LEAST_UNTOLD_GIGABYTES: Final = 0.5
"""Memory of replicas that name none: of a pod with GPUs, else of each replica."""

_LONGEST_NAME: Final = 50
_MEBIBYTE: Final = 2**20


@dataclass(frozen=True)
class Shape:
    """A kind of pod for replicas.

    Attributes:
        name: of its worker group; follows from the resources alone.
        resources: of one replica.
        per_pod: replicas that share a pod.
        pods: most pods at once, those of a rollout included.
        variables: environment variables that its replicas look up, sorted.
    """

    name: str
    resources: Resources
    per_pod: int
    pods: int
    variables: tuple[str, ...]

    @property
    def gpus(self) -> int:
        """Whole GPUs of a pod."""
        return math.ceil(self.resources.num_gpus)

    @property
    def ray_cpus(self) -> int:
        """CPUs that replicas may take."""
        return max(1, math.ceil(round(self.per_pod * self.resources.num_cpus, 6)))

    @property
    def ray_bytes(self) -> int | None:
        """Memory that replicas may take; None: they name none, and Ray does not count it."""
        gigabytes = self.resources.memory_gigabytes
        return None if gigabytes is None else self.per_pod * int(gigabytes * GIGABYTE)

    @property
    def pod_cpus(self) -> str:
        """CPUs of the pod, as Kubernetes writes them."""
        return f"{math.ceil((self.per_pod * self.resources.num_cpus + _RAY_CPUS) * 1000)}m"

    @property
    def pod_memory(self) -> str:
        """Memory of the pod, as Kubernetes writes it."""
        told = self.ray_bytes
        replicas = self._untold_bytes if told is None else told
        return f"{math.ceil((replicas + _RAY_BYTES) / _MEBIBYTE)}Mi"

    @property
    def _untold_bytes(self) -> float:
        if self.gpus:
            return self.gpus * _UNTOLD_GIGABYTES_PER_GPU * GIGABYTE
        of_cpus = _UNTOLD_GIGABYTES_PER_CPU * self.resources.num_cpus
        return self.per_pod * max(_LEAST_UNTOLD_GIGABYTES, of_cpus) * GIGABYTE


def shapes_of(config: Config) -> dict[str, Shape]:
    """The shapes that a config's environments need, by key, in the order of the file.

    Their order matters: KubeRay adds worker groups to a running cluster only behind
    those that are there.
    """
    wanted: dict[str, list[tuple[Deployment, int]]] = {}
    for _, environment, deployment in environments_of(config):
        most = environment.autoscaling.max_replica
        replicas = most + math.ceil(most * SURGE_PERCENT / 100)
        wanted.setdefault(key_of(deployment.resources), []).append((deployment, replicas))
    return {key: _shape(key, users) for key, users in wanted.items()}


def key_of(resources: Resources) -> str:
    """What shapes are told apart by."""
    return resources.model_dump_json()


def environments_of(config: Config) -> Iterator[tuple[str, Environment, Deployment]]:
    """Each environment's model, with what runs in it."""
    for name, model in config.models.items():
        for environment in model.environments.values():
            yield name, environment, model.deployments[environment.deployment]


def references(deployment: Deployment) -> set[str]:
    """Environment variables that its replicas look up."""
    values = deployment.environment_variables.values()
    return {name for value in values for name in re.findall(r"\$\{(\w+)\}", value)}


def _shape(key: str, users: list[tuple[Deployment, int]]) -> Shape:
    resources = users[0][0].resources
    replicas = sum(number for _, number in users)
    per_pod = _sharing(resources)  # whatever max_replica is: a change of that is no other pod
    return Shape(
        name=_name(resources, key),
        resources=resources,
        per_pod=per_pod,
        pods=math.ceil(replicas / per_pod),
        variables=tuple(sorted({name for user, _ in users for name in references(user)})),
    )


def _sharing(resources: Resources) -> int:
    """Replicas that share a GPU, or, without one, a CPU."""
    share = resources.num_gpus or resources.num_cpus
    return max(1, math.floor(round(1 / share, 6))) if 0 < share < 1 else 1


def _name(resources: Resources, key: str) -> str:
    """As in `models-h100x1-4cpu-48gb`; with a digest where it does not say everything."""
    accelerator = resources.accelerator_type or "gpu"
    parts = ["models"]
    if resources.num_gpus:
        parts.append(f"{accelerator}x{resources.num_gpus:g}")
    elif resources.accelerator_type is not None:
        parts.append(accelerator)
    parts.append(f"{resources.num_cpus:g}cpu")
    if resources.memory_gigabytes is not None:
        parts.append(f"{resources.memory_gigabytes:g}gb")
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower())
    if resources.node_labels or resources.custom or len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(key.encode()).hexdigest()[:6]
        name = f"{name[: _LONGEST_NAME - 7].rstrip('-')}-{digest}"
    return name
