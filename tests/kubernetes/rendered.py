"""What a config is rendered to, and what the tests of that look at."""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.config import Config, load, load_text
from orchestrator.kubernetes import (
    kustomization,
    rendering,
)
from orchestrator.kubernetes.node_choice import Accelerators
from tests.kubernetes import test_policies
from tests.kubernetes.manifests import (
    OVERLAYS,
    Document,
    PodTemplate,
    groups,
    ray_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-somebody-1234"
ENV = {
    "APP_KEY_SECRET": SECRET,
    "OPERATIONS_KEY_SECRET": SECRET[::-1],
    "STORE_URL": "redis://user:store-pass-word@10.9.8.7:6380/0",
    "ORCHESTRATOR_STORE_URL": "redis://store:6379/0",
    "HF_TOKEN": "hf_very_secret",
    "GCS_URL": "rediss://:gcs-pass-word@tables.example:6390",
}
H100 = Accelerators.given(["H100=nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"])

HEAD = """
cluster: {name: made-up, host: 0.0.0.0, max_connections: 5000}
auth: {enabled: true, keys: {app: {secret: "${APP_KEY_SECRET}"}}}
"""


amount: Callable[[str], float] = test_policies.amount
bound_seconds: Callable[[list[Document]], dict[str, float]] = test_policies.bound_seconds
drain_deadline: Callable[[Document], float] = test_policies.drain_deadline
keeps_its_requests: Callable[[list[Document]], None] = (
    test_policies.test_after_an_upgrade_the_old_cluster_finishes_its_requests
)
known_references: Callable[[list[Document], list[PodTemplate]], None] = (
    test_policies.test_secrets_and_settings_that_pods_refer_to_are_known
)
OF_PODS: list[Callable[[list[PodTemplate]], None]] = [
    test_policies.test_no_pod_is_privileged,
    test_policies.test_no_root_file_system_is_writable_and_what_has_to_be_is_a_volume,
    test_policies.test_images_are_pinned_and_ours_has_the_version_of_the_package,
    test_policies.test_requests_and_limits_are_set,
    test_policies.test_probes_are_set,
    test_policies.test_models_know_nothing_of_the_store,
]
OF_BOTH: list[Callable[[list[Document], list[PodTemplate]], None]] = [
    test_policies.test_every_mount_has_its_volume,
    test_policies.test_no_secret_stands_in_plain_text,
    test_policies.test_only_the_autoscaler_has_a_token_of_kubernetes,
    test_policies.test_public_traffic_ends_at_control_pods_alone,
    known_references,
]
OF_DOCUMENTS: list[Callable[[list[Document]], None]] = [
    test_policies.test_other_settings_make_other_pods,
    keeps_its_requests,
]
"""What `test_policies` asks of the overlays, asked of what is rendered from them."""


def shipped(name: str) -> Config:
    return load(ROOT / "configs" / f"{name}.yaml", ENV)


def made_up(models: dict[str, tuple[str, int]], more: str = "") -> Config:
    """A config of models, each a mapping of resources to the most replicas."""
    text = f"{HEAD}{textwrap.dedent(more)}\nmodels:\n"
    for name, (resources, most) in models.items():
        text += (
            f"  {name}:\n"
            f"    deployments: {{v1: {{runner: {{type: python, class: 'a:B'}}, "
            f"resources: {resources}}}}}\n"
            f"    environments: {{production: {{deployment: v1, "
            f"autoscaling: {{max_replica: {most}}}}}}}\n"
        )
    return load_text(text, "made-up.yaml", ENV)


def render(config: Config, overlay: str = "production", **options: Any) -> list[Document]:
    components = [kustomization.component(each) for each in rendering.components_of(config)]
    base = build(OVERLAYS[overlay], *components)
    return rendering.render(base, config, ENV, rendering.Options(**options))


@functools.cache
def build(folder: Path, *components: Path) -> list[Document]:
    """As rendering leaves it: it changes nothing that it is given."""
    return kustomization.build(folder, components)


def of_models(documents: list[Document]) -> dict[str, Document]:
    return {name: group for name, group in groups(documents).items() if name != "control"}


def container_of(group: Document) -> Document:
    container: Document = group["template"]["spec"]["containers"][0]
    return container


def serve_of(documents: list[Document]) -> Document:
    serve: Document = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    return serve


def deployments(documents: list[Document], kind: str) -> dict[str, Document]:
    return {
        application["name"]: deployment
        for application in serve_of(documents)["applications"]
        for deployment in application["deployments"]
        if deployment["name"] == kind
    }
