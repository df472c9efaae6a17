"""`orchestrator k8s`: worker groups, where parts run, and times to end, from a config."""

from __future__ import annotations

import copy
import math
import re

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st
from ray._private.label_utils import validate_label_selector
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.serve.schema import ServeDeploySchema

from orchestrator.config import compile_serve, load_text
from orchestrator.kubernetes import (
    fitting,
    kustomization,
    rendering,
    serving,
    shapes,
    yaml_text,
)
from orchestrator.kubernetes.node_choice import Accelerators
from tests.kubernetes import manifests
from tests.kubernetes.manifests import (
    OVERLAYS,
    groups,
    ray_service,
    settings,
)
from tests.kubernetes.rendered import (
    ENV,
    H100,
    OF_BOTH,
    OF_DOCUMENTS,
    OF_PODS,
    ROOT,
    amount,
    bound_seconds,
    build,
    container_of,
    deployments,
    drain_deadline,
    keeps_its_requests,
    made_up,
    of_models,
    render,
    serve_of,
    shipped,
)
from tests.kubernetes.schemas import core_problems, pod_problems, ray_service_problems


@pytest.fixture(autouse=True)
def _with_kustomize(kustomize):
    pass


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", ["kubernetes", "production"])
def test_what_is_rendered_is_valid_and_keeps_to_the_policies(overlay, name):
    documents = render(shipped(name), overlay, accelerators=H100)
    for each in documents:
        check = ray_service_problems if each["kind"] == "RayService" else core_problems
        assert check(each) == [], each["metadata"]["name"]
    pods = list(manifests.pod_templates(documents))
    for pod in pods:
        assert pod_problems(pod.spec) == []
    for of_pods in OF_PODS:
        of_pods(pods)
    for of_both in OF_BOTH:
        of_both(documents, pods)
    for of_documents in OF_DOCUMENTS:
        of_documents(documents)


@pytest.mark.parametrize("name", ["incremental-upgrade", "load-balancer", "model-downloads"])
def test_a_component_goes_into_every_group_and_stays_valid(name):
    overlay = build(OVERLAYS["production"], kustomization.component(name))
    documents = rendering.render(overlay, shipped("kubernetes"), ENV, rendering.Options())
    for each in documents:
        check = ray_service_problems if each["kind"] == "RayService" else core_problems
        assert check(each) == [], each["metadata"]["name"]
    ends = {
        tuple(port["name"] for port in container_of(group)["ports"])
        for group in of_models(documents).values()
    }
    assert ends == {("metrics", "serve") if name == "incremental-upgrade" else ("metrics",)}


def test_the_same_config_is_rendered_to_the_same_text():
    first, second = (yaml_text.dump_all(render(shipped("kubernetes"))) for _ in range(2))
    assert first == second


def test_every_environment_s_replicas_have_a_group_with_room_for_them():
    config = made_up(
        {
            "big": ("{num_cpus: 4, num_gpus: 2, memory_gigabytes: 48}", 4),
            "same": ("{num_cpus: 4, num_gpus: 2, memory_gigabytes: 48}", 1),
            "half": ("{num_cpus: 1, num_gpus: 0.5, memory_gigabytes: 8}", 5),
            "small": ("{num_cpus: 0.25, memory_gigabytes: 1}", 4),
        }
    )
    made = of_models(render(config))
    assert list(made) == ["models-gpux2-4cpu-48gb", "models-gpux0-5-1cpu-8gb", "models-0-25cpu-1gb"]
    big, half, small = made.values()
    # 4 and 1 replicas, and one more of each during a rollout.
    assert (big["maxReplicas"], big["minReplicas"], big["replicas"]) == (7, 0, 0)
    assert big["resources"] == {"CPU": "4", "GPU": "2", "memory": "48000000000"}
    assert container_of(big)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    # 5 and 2 replicas, two in a pod.
    assert half["maxReplicas"] == 4
    assert half["resources"] == {"CPU": "2", "GPU": "1", "memory": "16000000000"}
    # 4 and 1 replicas, four in a pod.
    assert small["maxReplicas"] == 2
    assert small["resources"] == {"CPU": "1", "memory": "4000000000"}
    assert "nvidia.com/gpu" not in container_of(small)["resources"]["limits"]
    assert "tolerations" not in small["template"]["spec"]


def test_a_pod_has_more_than_its_replicas_may_take():
    for group in of_models(render(shipped("kubernetes"))).values():
        limits = container_of(group)["resources"]["limits"]
        assert amount(limits["cpu"]) > float(group["resources"]["CPU"]) * 0.99
        assert amount(limits["memory"]) > float(group["resources"]["memory"]) + 1e9


@pytest.mark.parametrize("name", ["kubernetes", "production"])
def test_the_autoscaler_finds_a_group_for_every_replica_and_only_one(name):
    """As Ray's own code reads the groups of a RayCluster, with not one pod there."""
    documents = render(shipped(name), accelerators=H100)
    spec = copy.deepcopy(ray_service(documents)["spec"]["rayClusterConfig"])
    cluster = {"metadata": {"name": "c", "namespace": "n"}, "spec": spec}
    kinds = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    for application, deployment in deployments(documents, "Replica").items():
        options = deployment["ray_actor_options"]
        demand = {
            "CPU": options["num_cpus"],
            "GPU": options["num_gpus"],
            **options.get("resources", {}),
        }
        demand["memory"] = options.get("memory", 0)
        if "accelerator_type" in options:
            demand[f"accelerator_type:{options['accelerator_type']}"] = 0.001
        fitting_kinds = [
            kind
            for kind, node in kinds.items()
            if options["label_selector"].items() <= node["labels"].items()
            and all(node["resources"].get(key, 0) >= amount for key, amount in demand.items())
        ]
        assert len(fitting_kinds) == 1, application
        assert kinds[fitting_kinds[0]]["max_workers"] > 0


def test_more_replicas_are_more_pods_and_no_other_ones():
    """A change of a pod template would be a new cluster."""
    before, after = (
        of_models(render(made_up({"a": ("{num_cpus: 0.25}", most)}))) for most in (1, 9)
    )
    assert before["models-0-25cpu"].pop("maxReplicas") < after["models-0-25cpu"].pop("maxReplicas")
    assert before == after


def test_a_surge_is_what_serve_is_told():
    for deployment in deployments(render(shipped("kubernetes")), "Replica").values():
        assert deployment["max_surge_percent"] == shapes.SURGE_PERCENT


def test_parts_that_route_are_on_the_control_group_and_serve_takes_the_config():
    documents = render(shipped("production"), accelerators=H100)
    ServeDeploySchema.model_validate(serve_of(documents))
    for kind in ("Router", "Dispatcher", "Observatory", "Queue"):
        for deployment in deployments(documents, kind).values():
            selector = deployment["ray_actor_options"]["label_selector"]
            assert validate_label_selector(selector) is None
            assert selector["orchestrator.dev/part"] == "control"


def test_only_where_they_run_differs_from_the_compiled_config():
    config = shipped("kubernetes")
    serve = serve_of(render(config))
    for application in serve["applications"]:
        for deployment in application["deployments"]:
            del deployment["ray_actor_options"]["label_selector"]
    assert serve == compile_serve(config, ENV)


def test_an_application_is_never_built_on_the_nodes_of_its_model():
    """Serve would start a node with a GPU for it, if its deployments agreed on one."""
    from ray.serve._private.application_state import (  # noqa: PLC0415
        _get_shared_build_app_label_selector,
    )

    documents = render(shipped("kubernetes"))
    for application in ServeDeploySchema.model_validate(serve_of(documents)).applications:
        selector = _get_shared_build_app_label_selector(application) or {}
        assert selector.get("orchestrator.dev/part") in {None, "control"}


def test_as_many_control_pods_as_routers_and_not_fewer_than_the_overlay_has():
    for routers, pods in ((1, 3), (5, 5)):
        config = made_up({"a": ("{}", 1)}, f"router: {{replicas: {routers}}}")
        control = groups(render(config))["control"]
        assert (control["replicas"], control["minReplicas"]) == (pods, pods)
        assert control["maxReplicas"] > pods


def test_an_accelerator_is_a_label_of_nodes_and_a_resource_of_ray():
    config = made_up({"a": ("{num_gpus: 1, accelerator_type: L4, memory_gigabytes: 8}", 1)})
    ((name, group),) = of_models(render(config)).items()
    assert name == "models-l4x1-1cpu-8gb"
    assert group["template"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert group["resources"]["accelerator_type:L4"] == "1"


def test_an_accelerator_that_is_one_of_several_products():
    several = Accelerators.given(["A100=k8s.io/gpu=a", "A100=k8s.io/gpu=b", "A100=pool=gpus"])
    config = made_up({"a": ("{num_gpus: 1, accelerator_type: A100}", 1)})
    (group,) = of_models(render(config, accelerators=several)).values()
    pod = group["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpus"}
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "k8s.io/gpu", "operator": "In", "values": ["a", "b"]}
    ]


def test_a_gpu_of_amd_is_asked_for_by_its_own_name():
    mi = Accelerators.given(["AMD-Instinct-MI300X-OAM=gpu=mi300x"])
    resources = "{num_gpus: 1, accelerator_type: AMD-Instinct-MI300X-OAM}"
    (group,) = of_models(render(made_up({"a": (resources, 1)}), accelerators=mi)).values()
    assert container_of(group)["resources"]["limits"]["amd.com/gpu"] == "1"
    keys = [each["key"] for each in group["template"]["spec"]["tolerations"]]
    assert keys == ["amd.com/gpu"]


def test_labels_and_resources_of_one_s_own_are_on_the_group():
    resources = "{node_labels: {disk: fast, ray.io/availability-zone: z1}, custom: {licence: 0.5}}"
    config = made_up({"a": (resources, 1), "b": ("{}", 1)})
    documents = render(config)
    first, second = of_models(documents).values()
    assert first["labels"]["disk"] == "fast"
    assert first["labels"] == first["template"]["metadata"]["labels"]
    selector = first["template"]["spec"]["nodeSelector"]
    assert selector == {"disk": "fast", "topology.kubernetes.io/zone": "z1"}
    assert first["resources"]["licence"] == "1"
    assert re.fullmatch(r"models-1cpu-[0-9a-f]{6}", first["groupName"])
    assert second["groupName"] == "models-1cpu"
    wanted = deployments(documents, "Replica")["a.production"]["ray_actor_options"]
    assert wanted["label_selector"].items() <= first["labels"].items()


def test_placement_is_of_the_control_group():
    more = "placement: {router: {pool: front}, queue: {pool: front}}"
    documents = render(made_up({"a": ("{}", 1)}, more))
    control = groups(documents)["control"]
    assert control["labels"] == {"orchestrator.dev/part": "control", "pool": "front"}
    assert control["template"]["spec"]["nodeSelector"] == {"pool": "front"}


def test_another_model_behind_the_others_leaves_their_groups_as_they_are():
    """What KubeRay adds to the running cluster without making a new one."""
    models = {"a": ("{num_cpus: 2}", 1), "b": ("{num_cpus: 3}", 2)}
    before = ray_service(render(made_up(models)))["spec"]["rayClusterConfig"]
    models["c"] = ("{num_cpus: 4}", 1)
    after = ray_service(render(made_up(models)))["spec"]["rayClusterConfig"]
    count = len(before["workerGroupSpecs"])
    assert len(after["workerGroupSpecs"]) == count + 1
    after["workerGroupSpecs"] = after["workerGroupSpecs"][:count]
    assert before == after


@pytest.mark.parametrize("overlay", ["one-node", "production"])
def test_the_longest_request_ends_before_its_pod_and_its_cluster(overlay):
    text = (
        (ROOT / "configs" / "kubernetes.yaml")
        .read_text()
        .replace("predict_seconds: 600", "predict_seconds: 3000")
    )
    documents = render(load_text(text, "k.yaml", ENV), overlay)
    assert float(settings(documents)["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= 3300
    keeps_its_requests(documents)
    bounds = bound_seconds(documents)
    assert bounds["control"] >= 3300
    for group in groups(documents).values():
        deadline = drain_deadline(group)
        assert deadline >= bounds[group["labels"]["orchestrator.dev/part"]]
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= deadline + 30


def test_a_spot_node_s_notice_is_not_lengthened():
    for group in of_models(render(shipped("kubernetes"), "spot-gpu")).values():
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] == 120
        assert drain_deadline(group) == 90
        assert group["template"]["spec"]["nodeSelector"]


def test_settings_are_those_of_every_cluster():
    config = shipped("production")
    rendered = settings(render(config, accelerators=H100))
    assert fitting.settings_of(config).items() <= rendered.items()
    assert rendered["RAY_SERVE_HAPROXY_MAXCONN"] == "20000"


def test_pods_may_open_as_many_files_as_haproxy_needs_to_start():
    text = (ROOT / "configs" / "kubernetes.yaml").read_text()
    limits = []
    for connections in (20_000, 100_000):
        config = load_text(text.replace("20000", str(connections)), "k.yaml", ENV)
        limits.append(settings(render(config)).get("RAY_START_ULIMIT_OPEN_FILES"))
    assert limits[0] is None  # KubeRay's own is enough
    assert int(limits[1] or 0) > 2 * 100_000


def test_the_base_s_settings_are_those_of_its_config():
    expected = fitting.settings_of(shipped("kubernetes"))
    assert expected.items() <= settings(manifests.documents(OVERLAYS["base"])).items()


def test_the_base_s_serve_config_is_that_of_its_config():
    """Else: orchestrator k8s configs/kubernetes.yaml --refresh k8s/base/rayservice.yaml."""
    there = serve_of(manifests.documents(OVERLAYS["base"]))
    assert there == serving.example(shipped("kubernetes"))


@run_with(deadline=None)
@given(share=st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5, 0.75]), most=st.integers(1, 20))
def test_replicas_that_share_a_gpu_fit_into_its_pod(share, most):
    config = made_up({"a": (f"{{num_gpus: {share}, num_cpus: 1, memory_gigabytes: 2}}", most)})
    (shape,) = shapes.shapes_of(config).values()
    assert shape.per_pod * share <= 1 + 1e-9
    assert shape.pods * shape.per_pod >= most + math.ceil(most * shapes.SURGE_PERCENT / 100)
