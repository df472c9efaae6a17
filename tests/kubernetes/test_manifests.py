"""Every overlay and every component renders to what Kubernetes and KubeRay accept."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests.kubernetes import manifests
from tests.kubernetes.manifests import COMPONENTS, OVERLAYS, of_kind, ray_service
from tests.kubernetes.schemas import core_problems, pod_problems, ray_service_problems

ROOT = Path(__file__).parents[2]


def problems(documents) -> dict[str, list[str]]:
    """What is wrong with which document."""
    found = {}
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "RayService":
            found[name] = ray_service_problems(document)
        else:
            found[name] = core_problems(document)
    for pod in manifests.pod_templates(documents):
        found[f"pods of {pod.owner}, {pod.part}"] = pod_problems(pod.spec)
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.fixture
def build(kustomize, tmp_path):
    """Builds a kustomization of a test's own on top of one of ours."""

    def render(folder: Path, **more):
        # kustomize takes no absolute paths.
        up = Path("../" * (len(tmp_path.resolve().parts) - 1))
        more = {"resources": [folder], **more}
        text = {
            key: [str(up / str(each)[1:]) if isinstance(each, Path) else each for each in value]
            for key, value in more.items()
        }
        kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kind | text))
        return manifests.documents(tmp_path)

    return render


def test_an_overlay_renders_to_valid_documents(documents):
    assert problems(documents) == {}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda path: path.name)
def test_a_component_renders_to_valid_documents(build, component):
    assert problems(build(OVERLAYS["production"], components=[component])) == {}


def test_a_misspelt_field_of_a_ray_service_is_a_problem(documents):
    wrong = copy.deepcopy(ray_service(documents))
    cluster = wrong["spec"]["rayClusterConfig"]
    cluster["enableIntreeAutoscaling"] = True
    cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["envfrom"] = []
    cluster["workerGroupSpecs"][0]["minReplicas"] = "2"
    found = ray_service_problems(wrong)
    assert any("enableIntreeAutoscaling" in each for each in found)
    assert any("containers[0].envfrom" in each for each in found)
    assert any("minReplicas" in each for each in found)
    assert len(found) == 3


def test_a_misspelt_field_of_a_pod_is_a_problem():
    assert pod_problems({"containers": [{"name": "a", "image": "a:1", "reources": {}}]})


def test_a_document_is_there_once(documents):
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(names) == len(set(names))


def test_all_of_it_is_in_one_namespace(documents):
    for each in documents:
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "orchestrator"
        else:
            assert each["metadata"]["namespace"] == "orchestrator", each["metadata"]["name"]


def test_an_image_is_replaced_everywhere_by_its_name(build):
    ours = {"name": "orchestrator-serve", "newName": "registry.example/ours", "newTag": "1"}
    theirs = {"name": "valkey/valkey", "newName": "registry.example/valkey", "newTag": "2"}
    rendered = build(OVERLAYS["production"], images=[ours, theirs])
    used = {
        container["image"]
        for pod in manifests.pod_templates(rendered)
        for container in pod.containers
    }
    assert used == {"registry.example/ours:1", "registry.example/valkey:2"}


def test_with_a_store_of_one_s_own_there_is_no_other(build):
    rendered = build(
        OVERLAYS["production"], components=[OVERLAYS["base"].parent / "components/external-redis"]
    )
    names = {(each["kind"], each["metadata"]["name"]) for each in rendered}
    assert not any(name == "store" for kind, name in names if kind != "ConfigMap")
    control = manifests.groups(rendered)["control"]
    (container,) = control["template"]["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == ["ORCHESTRATOR_STORE_URL"]


def test_the_serve_config_is_one_that_serve_takes(documents):
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    schema = ServeDeploySchema.model_validate(config)
    assert {app.name for app in schema.applications} >= {"router", "dispatcher", "observatory"}


def test_parts_are_placed_on_groups_that_are_there(documents):
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    parts = {
        group["labels"]["orchestrator.dev/part"] for group in manifests.groups(documents).values()
    }
    for application in config["applications"]:
        for deployment in application["deployments"]:
            wanted = deployment["ray_actor_options"].get("label_selector", {})
            part = wanted.get("orchestrator.dev/part")
            if deployment["name"] in {"Router", "Dispatcher", "Queue", "Observatory"}:
                assert part == "control", application["name"]
            assert part in {None, *parts}


def test_the_config_of_the_example_is_the_repository_s(documents):
    example = yaml.safe_load((ROOT / "configs" / "kubernetes.yaml").read_text())
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    applications = {application["name"] for application in config["applications"]}
    assert applications == {
        "router",
        "dispatcher",
        "observatory",
        *(f"{model}.{env}" for model, m in example["models"].items() for env in m["environments"]),
    }


def test_services_select_pods_that_have_their_ports(documents, pods):
    for service in of_kind(documents, "Service"):
        selector = service["spec"]["selector"]
        chosen = [pod for pod in pods if selector.items() <= pod.labels.items()]
        assert chosen, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in pod.ports for pod in chosen)
