"""What k8s/ renders to, and the pods that KubeRay makes of it."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Document = dict[str, Any]

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = {
    "base": K8S / "base",
    "one-node": K8S / "overlays" / "one-node",
    "production": K8S / "overlays" / "production",
    "spot-gpu": K8S / "overlays" / "spot-gpu",
}
COMPONENTS = sorted(path.parent for path in (K8S / "components").glob("*/kustomization.yaml"))

MADE_BY_HAND = frozenset(
    {
        "gcs-store-password",
        "orchestrator-cluster",
        "orchestrator-environment",
        "orchestrator-ray-token",
        "store-password",
    }
)
"""Secrets that whoever installs creates; no manifest holds one."""


@dataclass(frozen=True)
class PodTemplate:
    """A kind of pod, as it will be there: with the labels and containers that KubeRay adds."""

    part: str
    owner: str
    labels: dict[str, str]
    spec: Document
    group: Document = field(default_factory=dict)

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """The ports that have a name, by it."""
        return {
            port["name"]: port["containerPort"]
            for container in self.spec["containers"]
            for port in container.get("ports", [])
        }

    @property
    def of_ray(self) -> bool:
        return self.owner.startswith("RayService/")


def builder() -> list[str] | None:
    """The command that builds a kustomization, but for its folder; None: there is none."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else None


@functools.cache
def render(folder: Path) -> str:
    """A kustomization as YAML documents."""
    command = builder()
    assert command is not None
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # a deprecated field, a patch that met nothing
    return done.stdout


def documents(folder: Path) -> list[Document]:
    """A kustomization as documents, each call its own copies."""
    return list(yaml.safe_load_all(render(folder)))


def of_kind(found: list[Document], kind: str) -> list[Document]:
    return [document for document in found if document["kind"] == kind]


def named(found: list[Document], kind: str, name: str) -> Document:
    (only,) = (d for d in of_kind(found, kind) if d["metadata"]["name"] == name)
    return only


def ray_service(found: list[Document]) -> Document:
    (only,) = of_kind(found, "RayService")
    return only


def groups(found: list[Document]) -> dict[str, Document]:
    """The worker groups by name."""
    specs = ray_service(found)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return {spec["groupName"]: spec for spec in specs}


def settings(found: list[Document]) -> dict[str, str]:
    """The environment variables that all pods of Ray get from ConfigMaps."""
    (head,) = (pod for pod in pod_templates(found) if pod.labels["ray.io/node-type"] == "head")
    names = [s["configMapRef"]["name"] for s in head.spec["containers"][0]["envFrom"]]
    data: dict[str, str] = {}
    for name in names:
        data |= named(found, "ConfigMap", name)["data"]
    return data


def settings_digest(found: list[Document]) -> str:
    """What all pods of Ray are annotated with, so that other settings make other pods."""
    text = json.dumps(settings(found), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pod_templates(found: list[Document]) -> Iterator[PodTemplate]:
    """Every kind of pod; of a RayService with what KubeRay adds to it."""
    for document in found:
        owner = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] in {"StatefulSet", "Deployment", "Job"}:
            template = document["spec"]["template"]
            labels = template["metadata"]["labels"]
            part = labels["orchestrator.dev/part"]
            yield PodTemplate(
                part, owner, {**labels, "ray.io/node-type": ""}, template["spec"], document["spec"]
            )
    service = ray_service(found)
    cluster = service["spec"]["rayClusterConfig"]
    owner = f"RayService/{service['metadata']['name']}"
    head = cluster["headGroupSpec"]
    yield _of_ray("head", "headgroup", owner, head, [_autoscaler(cluster)])
    for group in cluster["workerGroupSpecs"]:
        yield _of_ray("worker", group["groupName"], owner, group, [])


def _of_ray(
    kind: str, group: str, owner: str, spec: Document, added: list[Document]
) -> PodTemplate:
    """As ray-operator/controllers/ray/common/pod.go makes it: `labelPod`, `mergeLabels`."""
    template = spec["template"]
    labels = {
        **template.get("metadata", {}).get("labels", {}),
        **spec.get("labels", {}),
        "app.kubernetes.io/created-by": "kuberay-operator",
        "app.kubernetes.io/name": "kuberay",
        "ray.io/cluster": "orchestrator-abcde",
        "ray.io/group": group,
        "ray.io/is-ray-node": "yes",
        "ray.io/node-type": kind,
        "ray.io/serve": "true" if kind == "worker" else "false",
    }
    pod = {**template["spec"], "containers": [*template["spec"]["containers"], *added]}
    return PodTemplate(labels["orchestrator.dev/part"], owner, labels, pod, spec)


def _autoscaler(cluster: Document) -> Document:
    """The container beside the head: the head's image, and what `autoscalerOptions` says."""
    options = cluster["autoscalerOptions"]
    return {
        "name": "autoscaler",
        "image": options.get(
            "image", cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
        ),
        "resources": options["resources"],
        "securityContext": options["securityContext"],
        "volumeMounts": options["volumeMounts"],
    }
