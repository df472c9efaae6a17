"""What every pod of every overlay keeps to, and what their numbers have to do with one another."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.cluster.settings import NODE_LOSS_SETTINGS, shared_settings
from orchestrator.config import load
from tests.kubernetes import manifests
from tests.kubernetes.manifests import (
    MADE_BY_HAND,
    OVERLAYS,
    groups,
    named,
    of_kind,
    ray_service,
    settings,
)
from tests.kubernetes.network_policy import selects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.config import Config
    from tests.kubernetes.manifests import Document, PodTemplate

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECRETIVE = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|_KEY$|AUTH_MODE", re.IGNORECASE)
NOT_SECRETS = {"ORCHESTRATOR_CLUSTER_SECRET_FILE", "RAY_AUTH_MODE"}
BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def containers(pods: list[PodTemplate]) -> list[tuple[str, Document]]:
    """All containers, each with a name that tells whose it is."""
    return [(f"{pod.part}: {each['name']}", each) for pod in pods for each in pod.containers]


def amount(quantity: str | int) -> float:
    """A quantity of Kubernetes as a number."""
    text = str(quantity)
    if text.endswith("m"):
        return float(text[:-1]) / 1000
    return float(text[:-2]) * BYTES[text[-2:]] if text[-2:] in BYTES else float(text)


def example() -> Config:
    env = dict.fromkeys(("APP_KEY_SECRET", "OPERATIONS_KEY_SECRET"), "0123456789abcdef")
    env["ORCHESTRATOR_STORE_URL"] = "redis://store:6379/0"
    return load(ROOT / "configs" / "kubernetes.yaml", env)


def bound_seconds(documents: list[Document]) -> dict[str, float]:
    """The longest that Serve lets a replica of each part finish its requests."""
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    bounds = {"control": 0.0, "models": 0.0}
    for application in config["applications"]:
        for deployment in application["deployments"]:
            part = "models" if deployment["name"] == "Replica" else "control"
            bounds[part] = max(bounds[part], deployment["graceful_shutdown_timeout_s"])
    return bounds


def drain_deadline(group: Document) -> float:
    (container,) = group["template"]["spec"]["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:4] == ["orchestrator", "drain", "--this-node", "--wait"]
    return float(command[command.index("--deadline") + 1])


def test_no_pod_is_privileged(pods):
    for pod in pods:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        assert not any("hostPath" in volume for volume in pod.spec["volumes"])
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for name, each in containers(pods):
        security = each["securityContext"]
        assert not security.get("privileged"), name
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert not any("hostPort" in port for port in each.get("ports", [])), name


def test_no_root_file_system_is_writable_and_what_has_to_be_is_a_volume(pods):
    for name, each in containers(pods):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True, name
    for pod in pods:
        if pod.of_ray:
            for each in pod.containers:
                assert "/tmp" in {mount["mountPath"] for mount in each["volumeMounts"]}
        for volume in pod.spec["volumes"]:
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], (pod.part, volume["name"])


def test_every_mount_has_its_volume(documents, pods):
    claims = {
        f"StatefulSet/{each['metadata']['name']}": {
            claim["metadata"]["name"] for claim in each["spec"]["volumeClaimTemplates"]
        }
        for each in of_kind(documents, "StatefulSet")
    }
    for pod in pods:
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | claims.get(pod.owner, set())
        used = {mount["name"] for each in pod.containers for mount in each["volumeMounts"]}
        assert used == volumes, pod.part


def test_images_are_pinned_and_ours_has_the_version_of_the_package(pods):
    for name, each in containers(pods):
        image, _, tag = each["image"].partition(":")
        assert tag, name
        assert tag != "latest", name
        if image == "orchestrator-serve":
            assert tag == PROJECT["version"], name


def test_requests_and_limits_are_set(pods):
    for name, each in containers(pods):
        requests, limits = each["resources"]["requests"], each["resources"]["limits"]
        assert {"cpu", "memory"} <= requests.keys() == limits.keys(), name
        for resource, quantity in requests.items():
            assert 0 < amount(quantity) <= amount(limits[resource]), (name, resource)
            if "/" in resource:  # devices cannot be had beyond what was asked for
                assert quantity == limits[resource], name


def test_probes_are_set(pods):
    for pod in pods:
        for each in pod.spec["containers"]:
            if each["name"] != "autoscaler":  # which KubeRay makes, without any
                assert {"livenessProbe", "readinessProbe"} <= each.keys(), pod.part


def test_a_probe_over_http_names_a_port_that_something_listens_on(pods):
    agent = 52365  # Ray's agent on each node
    for pod in pods:
        for each in pod.spec["containers"]:
            for kind in ("livenessProbe", "readinessProbe"):
                get = each.get(kind, {}).get("httpGet")
                if get is not None:
                    assert get["port"] == agent or get["port"] in pod.ports


def test_no_secret_stands_in_plain_text(documents, pods):
    assert not of_kind(documents, "Secret")
    for name, each in containers(pods):
        for variable in each.get("env", []):
            if SECRETIVE.search(variable["name"]):
                assert "value" not in variable, (name, variable["name"])
            value = variable.get("value", "")
            assert not re.search(r"://[^/@]*:(?!\$\()[^/@]+@", value), (name, variable["name"])
    for each in of_kind(documents, "ConfigMap"):
        for key, value in each["data"].items():
            if SECRETIVE.search(key):
                assert key in NOT_SECRETS, key
            assert not re.search(r"[0-9a-fA-F]{32}", value), key


def test_the_keys_of_the_example_are_nobody_s(documents):
    """What is public must let nobody in: their hashes are not that of any secret."""
    config = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    hashes = re.findall(r"'sha256': '(\w+)'", str(config))
    assert hashes
    assert set(hashes) == {"0" * 64}


def test_secrets_and_settings_that_pods_refer_to_are_known(documents, pods):
    maps = {each["metadata"]["name"] for each in of_kind(documents, "ConfigMap")}
    text = [*(pod.spec for pod in pods), ray_service(documents)["spec"]["rayClusterConfig"]]
    for key, name in _references(text):
        if key in {"secretName", "secretKeyRef", "secretRef"}:
            assert name in MADE_BY_HAND
        elif name != "kube-root-ca.crt":
            assert name in maps


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind of reference, name) of all references to Secrets and ConfigMaps below `value`."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "secretName":
                yield key, each
            elif key in {"secretKeyRef", "secretRef", "configMapRef", "configMap"}:
                yield key, each["name"]
            else:
                yield from _references(each)


def test_only_the_autoscaler_has_a_token_of_kubernetes(documents, pods):
    accounts = {each["metadata"]["name"]: each for each in of_kind(documents, "ServiceAccount")}
    assert all(each["automountServiceAccountToken"] is False for each in accounts.values())
    for pod in pods:
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["serviceAccountName"] in accounts
        tokens = {
            volume["name"]
            for volume in pod.spec["volumes"]
            if "serviceAccountToken" in str(volume.get("projected"))
        }
        for each in pod.containers:
            if {mount["name"] for mount in each["volumeMounts"]} & tokens:
                assert (pod.part, each["name"]) == ("head", "autoscaler")
    heads = [pod.spec["serviceAccountName"] for pod in pods if pod.part == "head"]
    assert heads == ["orchestrator-head"]
    assert sum(pod.spec["serviceAccountName"] == "orchestrator-head" for pod in pods) == 1


def test_models_know_nothing_of_the_store(pods):
    for pod in pods:
        if pod.part == "models":
            assert "store" not in str(pod.spec).replace("object-store-memory", "").lower()


def test_budgets_are_of_a_kind_that_kubernetes_can_keep(overlay, documents, pods):
    """Of pods without a scalable controller it takes only a number that stays (`minAvailable`)."""
    covered = set()
    for budget in of_kind(documents, "PodDisruptionBudget"):
        spec = budget["spec"]
        chosen = [pod for pod in pods if selects(spec["selector"], pod.labels)]
        (pod,) = chosen
        covered.add(pod.part)
        if pod.of_ray:
            assert "maxUnavailable" not in spec
            assert 0 < spec["minAvailable"] < pod.group["minReplicas"]
        else:
            assert spec["maxUnavailable"] == 1
    control = {"control"} if overlay != "one-node" else set()
    assert covered == {"store", "gcs-store"} | control


def test_pods_of_a_part_are_spread(overlay, pods):
    for pod in pods:
        spread = pod.spec.get("topologySpreadConstraints", [])
        assert not spread or overlay != "one-node"
        for each in spread:
            assert selects(each["labelSelector"], pod.labels)
        if pod.part == "control" and overlay != "one-node":
            hosts, zones = spread
            assert hosts["topologyKey"] == "kubernetes.io/hostname"
            assert zones["topologyKey"] == "topology.kubernetes.io/zone"
            hard = overlay in {"production", "spot-gpu"}
            assert hosts["whenUnsatisfiable"] == ("DoNotSchedule" if hard else "ScheduleAnyway")


def test_the_settings_are_those_of_every_cluster(documents):
    config = example()
    stated = named(documents, "ConfigMap", "orchestrator-settings")["data"]
    assert stated == NODE_LOSS_SETTINGS | shared_settings(
        max_connections=config.cluster.max_connections,
        drain_seconds=config.router.drain_seconds,
        longest_request_seconds=config.longest_request_seconds,
    )


def test_the_settings_hold_the_longest_request(documents):
    longest = example().longest_request_seconds
    assert float(settings(documents)["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= longest
    assert float(settings(documents)["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"]) >= longest


def test_other_settings_make_other_pods(documents):
    """KubeRay looks at pod templates alone: without this, pods would have either settings."""
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        annotations = group["template"]["metadata"]["annotations"]
        assert annotations["orchestrator.dev/settings"] == manifests.settings_digest(documents)


def test_after_an_upgrade_the_old_cluster_finishes_its_requests(documents):
    delay = ray_service(documents)["spec"]["rayClusterDeletionDelaySeconds"]
    assert delay >= max(bound_seconds(documents).values())


def test_a_pod_that_is_ended_finishes_its_requests(overlay, documents):
    bounds = bound_seconds(documents)
    for name, group in groups(documents).items():
        deadline = drain_deadline(group)
        grace = group["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace >= deadline + 30, name
        if (overlay, name) != ("spot-gpu", "models"):
            assert deadline >= bounds[group["labels"]["orchestrator.dev/part"]], name


def test_a_pod_on_a_spot_node_is_gone_within_the_notice(kustomize):
    documents = manifests.documents(OVERLAYS["spot-gpu"])
    models = groups(documents)["models"]["template"]["spec"]
    assert models["terminationGracePeriodSeconds"] <= 120
    assert models["nodeSelector"]
    control = groups(documents)["control"]["template"]["spec"]
    assert "nodeSelector" not in control
    assert "tolerations" not in control


def test_public_traffic_ends_at_control_pods_alone(documents, pods):
    """By the port's name: only pods that have one of it are ends of the service."""
    spec = ray_service(documents)["spec"]
    assert spec["excludeHeadPodFromServeSvc"] is True
    (port,) = spec["serveService"]["spec"]["ports"]
    assert (port["name"], port["targetPort"]) == ("serve", "serve")
    having = {pod.part for pod in pods if port["targetPort"] in pod.ports}
    assert having == {"head", "control"}
    config = yaml.safe_load(spec["serveConfigV2"])
    assert {pod.ports["serve"] for pod in pods if pod.part in having} == {
        config["http_options"]["port"]
    }
    assert config["http_options"]["host"] == "0.0.0.0"


def test_the_service_monitor_s_port_is_on_the_head(pods):
    monitor = yaml.safe_load((ROOT / "k8s" / "monitoring" / "pod-monitor.yaml").read_text())
    (chosen,) = (pod for pod in pods if selects(monitor["spec"]["selector"], pod.labels))
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= chosen.ports.keys()


def test_ray_is_the_one_that_is_installed(documents):
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == metadata.version("ray")


def test_the_head_outlives_itself(documents):
    """With its tables in a server that is not the store, each cluster of an upgrade its own."""
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    options = cluster["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "redis://gcs-store:6379"
    assert named(documents, "Service", "gcs-store")["spec"]["ports"][0]["port"] == 6379
    assert "externalStorageNamespace" not in options
    assert cluster["authOptions"] == {"mode": "token", "secretName": "orchestrator-ray-token"}


def test_groups_scale_from_zero_under_autoscaler_v2(documents):
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    head, found = cluster["headGroupSpec"], groups(documents)
    assert head["rayStartParams"]["num-cpus"] == "0"
    for name, group in found.items():
        # Ray's labels and Kubernetes' have to agree; `labels` there is both's.
        assert group["labels"] == group["template"]["metadata"]["labels"], name
        assert "labels" not in group["rayStartParams"]
        assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"]
        assert "restartPolicy" not in group["template"]["spec"]
    assert found["models"]["minReplicas"] == 0
    assert found["control"]["minReplicas"] > 0


def test_one_node_is_enough_for_the_smallest_overlay(kustomize):
    cpus = memory = 0.0
    for pod in manifests.pod_templates(manifests.documents(OVERLAYS["one-node"])):
        count = max(1, pod.group.get("replicas", 1)) if pod.of_ray else 1
        for each in pod.containers:
            requests = each["resources"]["requests"]
            assert not any("/" in resource for resource in requests)
            cpus += count * amount(requests["cpu"])
            memory += count * amount(requests["memory"])
    assert cpus <= 2
    assert memory <= 8 * 2**30
