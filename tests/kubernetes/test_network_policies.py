"""The rendered policies, for each pair of parts and each port: exactly what the table says."""

from __future__ import annotations

from itertools import product

import pytest

from tests.kubernetes.manifests import COMPONENTS, OVERLAYS, documents, pod_templates
from tests.kubernetes.network_policy import End, Outside, Pod, Policies

NAMESPACE = "orchestrator"
NAMESPACES = {
    NAMESPACE: {},
    "kube-system": {},
    "kuberay-system": {},
    "ingress": {"orchestrator.dev/callers": "true"},
    "monitoring": {"orchestrator.dev/monitoring": "true"},
    "tracing": {"orchestrator.dev/telemetry": "true"},
    "strangers": {},
}
RAY = ("head", "control", "models")

OTHERS: dict[str, End] = {
    "caller": Pod("10.1.0.1", "ingress"),
    "prometheus": Pod("10.1.0.2", "monitoring"),
    "collector": Pod("10.1.0.3", "tracing"),
    "operator": Pod("10.1.0.4", "kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"}),
    "impostor": Pod("10.1.0.8", "strangers", {"app.kubernetes.io/name": "kuberay-operator"}),
    "dns": Pod("10.1.0.5", "kube-system", {"k8s-app": "kube-dns"}),
    # In another namespace with our labels, and in ours without any.
    "forged": Pod("10.1.0.6", "strangers", {"orchestrator.dev/part": "control"}),
    "unlabelled": Pod("10.1.0.7", NAMESPACE),
    "internet": Outside("93.184.216.34"),
    "internet, v6": Outside("2606:2800:220:1::"),
    "network of ours": Outside("10.9.8.7"),
    "metadata service": Outside("169.254.169.254"),
}

PORTS = (
    *(22, 53, 80, 443, 6443),
    *(4317, 4318),
    *(6379, 8265, 10001),  # of Ray's head: the GCS, the dashboard, Ray's client
    *(8076, 8077, 8078, 8079, 10002, 19999),
    *(8000, 8500, 30000, 31000),
    *(8080, 8404, 9101),  # of metrics
    *(32768, 45000, 52365, 60999),
    26379,
)

Row = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]

TABLE: list[Row] = [
    # public
    (("caller",), ("control",), (8000,)),
    # data
    (("head", "control"), ("control",), (30000, 31000)),
    (("control",), ("head",), (8500,)),
    (("control",), ("models",), (32768, 45000, 52365, 60999)),
    # control
    (RAY, ("head",), (6379,)),
    (RAY, RAY, (8076, 8077, 8078, 8079, 10002, 19999)),
    (("operator",), ("head",), (8265,)),
    # durable
    (("control",), ("store",), (6379,)),
    (("head",), ("gcs-store",), (6379,)),
    # outside: webhooks to public addresses, Kubernetes' own API wherever it is
    (("control",), ("internet", "internet, v6"), (443,)),
    (("head",), ("internet", "internet, v6", "network of ours", "metadata service"), (443, 6443)),
    # telemetry
    (("prometheus",), ("head",), (8000,)),
    (("prometheus",), RAY, (8080,)),
    (("control", "models"), ("collector",), (4317, 4318)),
]

SENTINELS: list[Row] = [
    (("control", "store"), ("store",), (6379, 26379)),
]

# What a policy cannot tell from a network of ours: pods that other namespaces leave open.
OPEN = ("caller", "prometheus", "collector", "operator", "impostor", "dns", "forged")
TABLE.append((("head",), OPEN, (443, 6443)))

DEPLOYED = {
    "base": TABLE,
    "one-node": TABLE,
    "production": TABLE + SENTINELS,
    "spot-gpu": TABLE + SENTINELS,
}


def ends(pods) -> dict[str, End]:
    """The parts of the cluster, and the others."""
    ours: dict[str, End] = {
        pod.part: Pod(f"10.0.0.{index}", NAMESPACE, pod.labels, pod.ports)
        for index, pod in enumerate(pods, start=1)
    }
    assert set(ours) == {*RAY, "store", "gcs-store"}
    return ours | OTHERS


def allowed(table: list[Row]) -> set[tuple[str, str, int]]:
    return {
        (source, target, port)
        for sources, targets, ports in table
        for source, target, port in product(sources, targets, ports)
    }


def found(policies: Policies, parts: dict[str, End]) -> set[tuple[str, str, int]]:
    """What is possible between two parts, or a part and another; the others are not ours."""
    pairs = [
        (source, target)
        for source, target in product(parts, parts)
        if not (source in OTHERS and target in OTHERS) or "unlabelled" in (source, target)
    ]
    return {
        (source, target, port)
        for (source, target), port in product(pairs, PORTS)
        if policies.allow(parts[source], parts[target], port)
    }


def test_exactly_what_the_table_says_is_possible(overlay, documents, pods):
    possible = found(Policies(documents, NAMESPACES), ends(pods))
    names = allowed([((*RAY, "store", "gcs-store", "unlabelled"), ("dns",), (53,))])
    assert possible == allowed(DEPLOYED[overlay]) | names


def test_names_are_asked_for_over_udp_and_on_the_node(documents, pods):
    policies = Policies(documents, NAMESPACES)
    for part, end in ends(pods).items():
        if part in OTHERS:
            continue
        assert policies.allow(end, OTHERS["dns"], 53, "UDP")
        assert policies.allow(end, Outside("169.254.20.10"), 53, "UDP")
        assert not policies.allow(end, OTHERS["internet"], 53, "UDP")


def test_the_job_that_cleans_up_after_a_head_reaches_the_store_of_the_gcs(documents, pods):
    """KubeRay makes it of the head's pod, under another node type."""
    (head,) = (pod for pod in pods if pod.part == "head")
    labels = {**head.labels, "ray.io/node-type": "redis-cleanup"}
    job = Pod("10.0.0.9", NAMESPACE, labels)
    policies = Policies(documents, NAMESPACES)
    assert policies.allow(job, ends(pods)["gcs-store"], 6379)
    assert not policies.allow(job, ends(pods)["store"], 6379)


def test_the_ports_that_ray_is_told_to_use_are_those_that_are_open(documents, pods):
    """Else a node would come up, and nobody would hear of it."""
    policies, parts = Policies(documents, NAMESPACES), ends(pods)
    for pod in pods:
        if not pod.of_ray:
            continue
        told = {
            int(value)
            for name, value in pod.group["rayStartParams"].items()
            if name.endswith("-port")
        }
        assert len(told) == 6
        for source, port in product(RAY, told):
            assert policies.allow(parts[source], parts[pod.part], port), (source, pod.part, port)


@pytest.fixture
def with_component(kustomize, tmp_path):
    """Builds production with one component."""

    def build(name: str):
        (folder,) = (path for path in COMPONENTS if path.name == name)
        # kustomize takes no absolute paths.
        up = "../" * (len(tmp_path.resolve().parts) - 1)
        (tmp_path / "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"namespace: {NAMESPACE}\n"
            f"resources: [{up}{str(OVERLAYS['production'])[1:]}]\n"
            f"components: [{up}{str(folder)[1:]}]\n"
        )
        return documents(tmp_path)

    return build


def test_models_load_weights_only_where_that_is_asked_for(with_component):
    rendered = with_component("model-downloads")
    policies, parts = Policies(rendered, NAMESPACES), ends(pod_templates(rendered))
    assert found(policies, parts) - allowed(DEPLOYED["production"]) == allowed(
        [
            (("models",), ("internet", "internet, v6"), (443,)),
            ((*RAY, "store", "gcs-store", "unlabelled"), ("dns",), (53,)),
        ]
    )


def test_with_incremental_upgrades_models_take_callers_in_and_pass_them_on(with_component):
    """KubeRay's own Services select them."""
    rendered = with_component("incremental-upgrade")
    policies, parts = Policies(rendered, NAMESPACES), ends(pod_templates(rendered))
    assert found(policies, parts) - allowed(DEPLOYED["production"]) == allowed(
        [
            (("caller",), ("models",), (8000,)),
            (("models",), ("control",), (30000, 31000)),
            (("head", "models"), ("head",), (8500,)),
            ((*RAY, "store", "gcs-store", "unlabelled"), ("dns",), (53,)),
        ]
    )


def test_a_load_balancer_lets_anybody_in_to_the_public_port_alone(with_component):
    rendered = with_component("load-balancer")
    policies, parts = Policies(rendered, NAMESPACES), ends(pod_templates(rendered))
    assert {
        (target, port)
        for target, port in product(parts, PORTS)
        if target not in OTHERS and policies.allow(OTHERS["internet"], parts[target], port)
    } == {("control", 8000)}
