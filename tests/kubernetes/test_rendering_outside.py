"""`orchestrator k8s`: secrets, servers that are somebody else's, and what is refused."""

from __future__ import annotations

import copy
import textwrap
from typing import Any

import pytest
import yaml

from orchestrator.config import Config, ConfigError, load_text
from orchestrator.kubernetes import (
    kustomization,
    rendering,
    variables,
    yaml_text,
)
from orchestrator.kubernetes.node_choice import Accelerators
from tests.kubernetes import manifests
from tests.kubernetes.manifests import (
    OVERLAYS,
    groups,
    named,
    ray_service,
)
from tests.kubernetes.rendered import (
    ENV,
    H100,
    HEAD,
    container_of,
    deployments,
    known_references,
    made_up,
    of_models,
    render,
    shipped,
)


@pytest.fixture(autouse=True)
def _with_kustomize(kustomize):
    pass


def test_only_replicas_that_look_a_variable_up_get_it_and_no_value_is_told():
    documents = render(shipped("production"), accelerators=H100)
    text = yaml_text.dump_all(documents)
    for value in ENV.values():
        assert value not in text
    for secret in ("store-pass-word", "gcs-pass-word"):
        assert secret not in text
    found = of_models(documents)
    names = {
        name: {each["name"] for each in container_of(group).get("env", [])}
        for name, group in found.items()
    }
    assert names == {"models-h100x1-4cpu-48gb": {"HF_TOKEN"}, "models-2cpu-2gb": set()}


def test_a_store_of_one_s_own_is_reached_and_ours_left_out():
    documents = render(shipped("production"), accelerators=H100)
    kinds = {(each["kind"], each["metadata"]["name"]) for each in documents}
    assert ("StatefulSet", "store") not in kinds
    control = container_of(groups(documents)["control"])
    (store,) = (each for each in control["env"] if each["name"] == "STORE_URL")
    assert store["valueFrom"]["secretKeyRef"] == {
        "name": "orchestrator-environment",
        "key": "STORE_URL",
    }
    assert "ORCHESTRATOR_STORE_URL" not in {each["name"] for each in control["env"]}
    (rule,) = named(documents, "NetworkPolicy", "durable-from-control")["spec"]["egress"]
    assert rule == {
        "to": [{"ipBlock": {"cidr": "10.9.8.7/32"}}],
        "ports": [{"protocol": "TCP", "port": 6380}],
    }


def test_results_on_s3_have_credentials_where_there_are_some():
    control = container_of(groups(render(shipped("production"), accelerators=H100))["control"])
    optional = {
        each["name"]
        for each in control["env"]
        if each.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
    }
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= optional


def test_receivers_in_networks_of_one_s_own_are_reached():
    documents = render(shipped("production"), accelerators=H100)
    egress = named(documents, "NetworkPolicy", "webhooks")["spec"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]} in egress


def test_ray_s_tables_in_a_server_of_one_s_own():
    text = HEAD.replace("max_connections: 5000", 'gcs_store: "${GCS_URL}"')
    config = made_up({"a": ("{}", 1)})
    config = load_text(
        text + yaml.safe_dump({"models": config.model_dump(mode="json", by_alias=True)["models"]}),
        "gcs.yaml",
        ENV,
    )
    documents = render(config)
    options = ray_service(documents)["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "rediss://tables.example:6390"
    reference = options["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "orchestrator-environment", "key": "GCS_STORE_PASSWORD"}
    assert not any(
        each["metadata"]["name"].startswith(("gcs-store", "durable-to-gcs")) for each in documents
    )
    (rule,) = named(documents, "NetworkPolicy", "durable-from-head")["spec"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 6390}]
    assert "gcs-pass-word" not in yaml_text.dump_all(documents)


def test_the_commands_name_every_secret_and_no_value():
    documents = render(shipped("production"), accelerators=H100, namespace="inference")
    lines = variables.commands(documents, "inference")
    made = {line.split()[6] for line in lines[1:]}
    assert made == {
        "gcs-store-password",
        "orchestrator-cluster",
        "orchestrator-environment",
        "orchestrator-ray-token",
    }
    (environment,) = (line for line in lines if "orchestrator-environment" in line)
    assert '--from-literal=HF_TOKEN="$HF_TOKEN"' in environment
    assert '--from-literal=STORE_URL="$STORE_URL"' in environment
    assert not any(value in "\n".join(lines) for value in ENV.values())
    known_references(documents, list(manifests.pod_templates(documents)))


def test_namespace_and_image_are_everywhere():
    image = "registry.example:5000/serve@sha256:" + "0" * 64
    documents = render(shipped("kubernetes"), namespace="inference", image=image)
    for each in documents:
        metadata = each["metadata"]
        place = metadata["name"] if each["kind"] == "Namespace" else metadata["namespace"]
        assert place == "inference"
    for pod in manifests.pod_templates(documents):
        assert all(
            each["image"] == image if pod.of_ray else "valkey" in each["image"]
            for each in pod.containers
        )


def test_the_overlay_itself_is_not_changed():
    base = kustomization.build(OVERLAYS["production"])
    before = copy.deepcopy(base)
    rendering.render(base, shipped("kubernetes"), ENV, rendering.Options(namespace="other"))
    assert base == before


def refusal(config: Config, **options: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        render(config, **options)
    return {problem.path: problem.rule for problem in raised.value.errors}


def test_everything_that_cannot_be_is_refused_at_once():
    text = """
    cluster: {name: wrong, host: 127.0.0.1}
    results: {url: file:///here}
    placement: {router: {pool: a}, dispatcher: {pool: b}, queue: {pool: "!a"}}
    models:
      m:
        deployments:
          v1:
            runner: {type: python, class: "a:B"}
            resources:
              num_gpus: 16
              accelerator_type: H100
              node_labels: {ray.io/node-id: abc, orchestrator.dev/part: head, zone: "in(a, b)"}
              custom: {my-gpu: 1}
          unused:
            runner: {type: python, class: "a:B"}
            resources: {accelerator_type: never-heard-of}
        environments: {production: {deployment: v1}}
      none:
        deployments:
          v1: {runner: {type: python, class: "a:B"}, resources: {num_cpus: 0}}
        environments: {production: {deployment: v1}}
    """
    config = load_text(textwrap.dedent(text), "wrong.yaml", {})
    found = refusal(config, namespace="No_Such", image="serve:latest", most_gpus=8)
    of_m = "models.m.deployments.v1.resources"
    assert set(found) == {
        "cluster.host",
        "auth.enabled",
        "results.url",
        "--namespace",
        "--image",
        "placement.dispatcher.pool",
        "placement.queue.pool",
        f"{of_m}.num_gpus",
        f"{of_m}.accelerator_type",
        f"{of_m}.node_labels.ray.io/node-id",
        f"{of_m}.node_labels.orchestrator.dev/part",
        f"{of_m}.node_labels.zone",
        f"{of_m}.custom.my-gpu",
        "models.none.deployments.v1.resources.num_cpus",
    }
    assert "--accelerator H100=LABEL=VALUE" in found[f"{of_m}.accelerator_type"]


def test_an_embedded_store_becomes_the_set_s_own():
    documents = render(made_up({"a": ("{}", 1)}))
    assert named(documents, "StatefulSet", "store")
    table = deployments(documents, "Router")["router"]["user_config"]
    assert table["store"] == "${ORCHESTRATOR_STORE_URL}"


def test_a_tpu_is_refused_rather_than_asked_for_as_a_gpu():
    config = made_up({"a": ("{num_gpus: 1, accelerator_type: TPU-V5P}", 1)})
    assert "NVIDIA or AMD" in "".join(refusal(config).values())


@pytest.mark.parametrize(
    "option", ["H100", "H100=a", "=a=b", "H100=a=b=c", "H100=a b=c", "H100=a="]
)
def test_an_accelerator_option_of_another_form_is_refused(option):
    with pytest.raises(ValueError, match="TYPE=LABEL=VALUE"):
        Accelerators.given([option])
