"""Finding one's way in Kubernetes documents as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Document = dict[str, Any]

PART: Final = "orchestrator.dev/part"
"""Label of pods and of Ray nodes: `head`, `control` or `models`."""

GROUP: Final = "orchestrator.dev/group"
"""Label of pods and of Ray nodes for models: the name of their worker group."""

CONTROL: Final = "control"
MODELS: Final = "models"


def of_kind(documents: Iterable[Document], kind: str) -> list[Document]:
    """The documents of a kind, in their order."""
    return [document for document in documents if document["kind"] == kind]


def named(documents: Iterable[Document], kind: str, name: str) -> Document | None:
    """The document of that kind and name; None: there is none."""
    found = (each for each in of_kind(documents, kind) if each["metadata"]["name"] == name)
    return next(found, None)


def ray_service(documents: Iterable[Document]) -> Document:
    """The one `RayService`.

    Raises:
        ValueError: there is none, or more than one.
    """
    (service,) = of_kind(documents, "RayService")
    return service


def ray_cluster(documents: Iterable[Document]) -> Document:
    """The `rayClusterConfig` of the one `RayService`."""
    cluster: Document = ray_service(documents)["spec"]["rayClusterConfig"]
    return cluster


def worker_group(documents: Iterable[Document], name: str) -> Document:
    """The worker group of that name.

    Raises:
        ValueError: there is none.
    """
    (group,) = (
        each for each in ray_cluster(documents)["workerGroupSpecs"] if each["groupName"] == name
    )
    found: Document = group
    return found


def ray_groups(documents: Iterable[Document]) -> Iterator[Document]:
    """The head's group, then each worker group."""
    cluster = ray_cluster(documents)
    yield cluster["headGroupSpec"]
    yield from cluster["workerGroupSpecs"]


def pod_of(group: Document) -> Document:
    """The pod's spec of a group of Ray nodes."""
    spec: Document = group["template"]["spec"]
    return spec


def ray_container(group: Document) -> Document:
    """The container that Ray runs in: KubeRay takes the first."""
    container: Document = pod_of(group)["containers"][0]
    return container


def set_label(group: Document, key: str, value: str) -> None:
    """Label a group's Ray nodes and its pods alike."""
    group.setdefault("labels", {})[key] = value
    metadata = group["template"].setdefault("metadata", {})
    metadata.setdefault("labels", {})[key] = value
