"""What in the manifests follows from the config: settings, times to end, the image, the namespace."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cluster.settings import NODE_LOSS_SETTINGS, shared_settings
from orchestrator.kubernetes.documents import (
    CONTROL,
    MODELS,
    PART,
    named,
    of_kind,
    pod_of,
    ray_cluster,
    ray_container,
    ray_groups,
    ray_service,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.documents import Document

OUR_IMAGE: Final = "orchestrator-serve"

_MARK: Final = "RAY_SERVE_ENABLE_HA_PROXY"
_DIGEST: Final = "orchestrator.dev/settings"
_DRAIN_MARGIN_SECONDS: Final = 90
_END_MARGIN_SECONDS: Final = 60
_KUBERAY_FILES: Final = 65_536
"""Open files that KubeRay lets Ray's processes have, if it is not told otherwise."""

_OTHER_FILES: Final = 4096
_NOTICE_SECONDS: Final = 120
"""A grace period up to here is what the platform gives, and not ours to lengthen."""

_OF_NO_NAMESPACE: Final = frozenset(
    {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "StorageClass"}
)


def settings_of(config: Config) -> dict[str, str]:
    """The settings that every node needs for a config.

    HAProxy does not start where it may not open two files for each connection.
    """
    files = 2 * config.cluster.max_connections + _OTHER_FILES
    more = {"RAY_START_ULIMIT_OPEN_FILES": str(files)} if files > _KUBERAY_FILES else {}
    return (
        more
        | NODE_LOSS_SETTINGS
        | shared_settings(
            max_connections=config.cluster.max_connections,
            drain_seconds=config.router.drain_seconds,
            longest_request_seconds=config.longest_request_seconds,
        )
    )


def set_settings(documents: list[Document], config: Config) -> None:
    """Put the config's settings into their ConfigMap, and its digest onto all pods of Ray.

    KubeRay compares pod templates alone: with the digest, other settings are another
    cluster, and without it pods of one cluster would have either.
    """
    (target,) = (each for each in of_kind(documents, "ConfigMap") if _MARK in each["data"])
    target["data"] = dict(sorted({**target["data"], **settings_of(config)}.items()))
    data: dict[str, str] = {}
    for source in ray_container(ray_cluster(documents)["headGroupSpec"])["envFrom"]:
        config_map = named(documents, "ConfigMap", source["configMapRef"]["name"])
        data |= config_map["data"] if config_map is not None else {}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    for group in ray_groups(documents):
        metadata = group["template"].setdefault("metadata", {})
        metadata.setdefault("annotations", {})[_DIGEST] = digest


def set_times_to_end(documents: list[Document], serve: Mapping[str, Any]) -> None:
    """Let pods that are ended, and clusters that were replaced, finish their requests."""
    bounds = _bounds(serve)
    longest = 0
    for group in ray_cluster(documents)["workerGroupSpecs"]:
        deadline = math.ceil(bounds[group["labels"][PART]]) + _DRAIN_MARGIN_SECONDS
        grace = deadline + _END_MARGIN_SECONDS
        longest = max(longest, grace)
        pod = pod_of(group)
        if pod["terminationGracePeriodSeconds"] <= _NOTICE_SECONDS:
            continue
        pod["terminationGracePeriodSeconds"] = grace
        command = ray_container(group)["lifecycle"]["preStop"]["exec"]["command"]
        command[command.index("--deadline") + 1] = str(deadline)
    ray_service(documents)["spec"]["rayClusterDeletionDelaySeconds"] = longest


def set_image(documents: list[Document], image: str) -> None:
    """Use another image for all pods that run ours."""
    for group in ray_groups(documents):
        pod = pod_of(group)
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            if container["image"].partition(":")[0] == OUR_IMAGE:
                container["image"] = image


def set_namespace(documents: Iterable[Document], namespace: str) -> None:
    """Put everything into one namespace."""
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"]["name"] = namespace
        elif document["kind"] not in _OF_NO_NAMESPACE:
            document["metadata"]["namespace"] = namespace
        for subject in document.get("subjects", []):
            if subject["kind"] == "ServiceAccount":
                subject["namespace"] = namespace


def _bounds(serve: Mapping[str, Any]) -> dict[str, float]:
    """The longest that Serve lets a replica of each part finish its requests, in seconds."""
    bounds = {CONTROL: 0.0, MODELS: 0.0}
    for application in serve["applications"]:
        for deployment in application["deployments"]:
            part = MODELS if deployment["name"] == "Replica" else CONTROL
            bounds[part] = max(bounds[part], deployment["graceful_shutdown_timeout_s"])
    return bounds
