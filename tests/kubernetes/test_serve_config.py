"""`serveConfigV2` of a rendered manifest, on a Ray cluster that is started as its pods are."""

from __future__ import annotations

import json
import secrets
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orchestrator import cluster_secret
from orchestrator.cluster.dashboard import Dashboard
from orchestrator.config import load_text
from orchestrator.kubernetes import kustomization, rendering
from tests.integration.test_existing_ray import PlainRay, eventually
from tests.kubernetes.manifests import OVERLAYS, Document, groups, ray_service, settings
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
KEY = secrets.token_hex(16)
ENV = {
    "APP_KEY_SECRET": KEY,
    "OPERATIONS_KEY_SECRET": secrets.token_hex(16),
    "ORCHESTRATOR_STORE_URL": "redis://store:6379/0",
}
OF_THE_PODS = {"HOME", "ORCHESTRATOR_CLUSTER_SECRET_FILE"}
"""Settings that say where something is mounted, which here is elsewhere."""


class RayOfTheManifest(PlainRay):
    """Two Ray nodes with the labels, resources and settings of two of its groups."""

    def __init__(self, folder: Path, documents: list[Document]) -> None:
        super().__init__(folder, "127.0.0.2")
        secret = folder / "cluster_secret"
        cluster_secret.write_new(secret)
        ports = {name for name in self.settings if "_PORT" in name}
        of_pods = settings(documents)
        self.settings |= {
            name: value for name, value in of_pods.items() if name not in ports | OF_THE_PODS
        }
        del self.settings["RAY_SERVE_HAPROXY_BINARY_PATH"]  # pods have Serve's own choice
        self.settings["ORCHESTRATOR_CLUSTER_SECRET_FILE"] = str(secret)
        self.groups = groups(documents)

    def _start_node(self, address: str, *options: str) -> None:
        head = "--head" in options
        if not head:
            self._give_haproxy_a_folder(address)
        group = self.groups["control" if head else "models-1cpu-1gb"]
        labels = ",".join(f"{key}={value}" for key, value in group["labels"].items())
        offered = group.get("resources", {})
        memory = [f"--memory={offered['memory']}"] if "memory" in offered else []
        super()._start_node(address, *options, f"--labels={labels}", *memory)

    def _give_haproxy_a_folder(self, name: str) -> None:
        """Pods have file systems of their own; nodes on one machine have not."""
        (self.folder / name).mkdir()
        for key, value in self.settings.items():
            if key.startswith("RAY_SERVE_HAPROXY_") and value.startswith(f"{self.folder}"):
                self.settings[key] = value.replace(f"{self.folder}", f"{self.folder / name}", 1)

    @property
    def board(self) -> Dashboard:
        return Dashboard(self.dashboard, (self.folder / "ray_token").read_text().strip())

    def predict(self, key: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/models/echo/production/predict",
            b'{"from": "a manifest"}',
            {"content-type": "application/json", "authorization": f"Bearer {key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None
        except OSError as error:
            return 0, str(error)


@pytest.fixture(scope="module")
def documents(kustomize: list[str]) -> list[Document]:
    text = (ROOT / "configs" / "kubernetes.yaml").read_text()
    # HAProxy needs two open files for each; KubeRay lets pods have 65536, a machine may not.
    text = text.replace("max_connections: 20000", "max_connections: 1000")
    config = load_text(text, "kubernetes.yaml", ENV)
    overlay = kustomization.build(OVERLAYS["one-node"])
    return rendering.render(overlay, config, ENV, rendering.Options())


@pytest.fixture(scope="module")
def ray(documents: list[Document]) -> Iterator[RayOfTheManifest]:
    cluster = RayOfTheManifest(Path(tempfile.mkdtemp(prefix="ray-")), documents)
    try:
        cluster.start()
        cluster.add_node("127.0.0.3")
        yield cluster
    finally:
        cluster.end()


def test_the_config_of_a_manifest_answers_a_request_from_the_group_of_its_model(
    ray: RayOfTheManifest, documents: list[Document]
) -> None:
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    config["http_options"]["port"] = ray.port = free_port()  # 8000 may be somebody's here
    ray.board.apply(config)
    status, answer = eventually(
        lambda: found if (found := ray.predict(f"app.{KEY}"))[0] == 200 else None,
        "the model answers",
        180,
    )
    assert (status, answer) == (200, {"from": "a manifest"})
    assert ray.predict("app.somebody-else-s-key-123")[0] == 401
    parts = {node.address: {part.kind for part in node.parts} for node in ray.board.nodes()}
    assert "replica" in parts["127.0.0.3"]
    assert {"router", "dispatcher", "queue", "observatory"} <= parts["127.0.0.2"]
    assert "replica" not in parts["127.0.0.2"]
