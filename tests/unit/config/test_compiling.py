import copy
import hashlib
import json
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from ray.serve._private.application_state import _get_shared_build_app_label_selector
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from orchestrator.config import ConfigError, compile_serve
from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.settings import EnvironmentSettings
from orchestrator.router.table import decode
from orchestrator.telemetry.settings import TelemetrySettings
from replicas.spec import ReplicaSpec

SECRET = "0123456789abcdef"
STORE = "redis://user:s3cret@store:6379/0"
GCS = "redis://:gcs-s3cret@store:6380"
ENV = {"APP_SECRET": SECRET, "TOKEN": "t0p-secret-token", "STORE_URL": STORE, "GCS_STORE": GCS}
FULL = """\
cluster: {name: full, host: 0.0.0.0, port: 9000, gcs_store: "${GCS_STORE}"}
router: {replicas: 2, max_body_megabytes: 1.5, drain_seconds: 3}
auth:
  enabled: true
  keys:
    app: {secret: "${APP_SECRET}", scopes: [inference, manage], models: [llm]}
store: ${STORE_URL}
dispatcher: {replicas: 3, lease_seconds: 20}
results: {url: "s3://bucket/results", keep_hours: 2, inline_kilobytes: 64}
webhooks: {allowed_networks: [10.1.0.0/16], retry_seconds: [1, 2.5]}
telemetry: {sampling_percent: 5, keep_slowest_percent: 2, keep_hours: 1, recent_requests: 500}
models:
  llm:
    deployments:
      v1:
        runner: {type: command, command: [serve, "{port}"], predict_path: /generate}
        resources: {num_cpus: 2, num_gpus: 1, memory_gigabytes: 8, accelerator_type: H100}
        concurrency: 8
        environment_variables: {TOKEN: "${TOKEN}"}
    environments:
      production:
        deployment: v1
        autoscaling: {min_replica: 1, max_replica: 4, concurrency_target: 6}
        queue: {max_megabytes: 2, handover_milliseconds: 20}
        timeouts: {park_seconds: 30, predict_seconds: 40, first_byte_seconds: 5}
        retry: {initial_milliseconds: 250}
        async_requests: {max_requests: 50, max_requests_per_key: 5, run_seconds: 900}
      development: {deployment: v1}
"""


TELEMETRY = {
    "sample_ratio": 0.05,
    "slowest_share": 0.02,
    "recent": 500,
    "kept": 1000,
    "keep_s": 3600,
    "forward_baggage": False,
}


PLACED = FULL.replace(
    "accelerator_type: H100",
    "accelerator_type: H100, node_labels: {disk: 'in(nvme, ssd)'}, "
    "custom: {licence: 1, slice: 0.5}",
)


@pytest.fixture
def compiled(loaded):
    return compile_serve(loaded(FULL, ENV), ENV)


def application(compiled: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in compiled["applications"] if each["name"] == name)


def part_options(compiled: dict[str, Any]) -> dict[str, Any]:
    """Actor options by the names of deployments, those of environments of the first one."""
    found: dict[str, Any] = {}
    for each in compiled["applications"]:
        for deployment in each["deployments"]:
            found.setdefault(deployment["name"], deployment["ray_actor_options"])
    return found


def table(compiled: dict[str, Any]) -> dict[str, Any]:
    [router] = application(compiled, "router")["deployments"]
    found: dict[str, Any] = router["user_config"]
    return found


def test_serve_accepts_the_result(compiled):
    ServeDeploySchema.model_validate(compiled)


def test_serve_ignores_nothing_of_the_result(compiled):
    assert compiled.keys() <= ServeDeploySchema.model_fields.keys()
    for application in compiled["applications"]:
        assert application.keys() <= ServeApplicationSchema.model_fields.keys()
        for deployment in application["deployments"]:
            assert deployment.keys() <= DeploymentSchema.model_fields.keys()
            options = deployment["ray_actor_options"].keys()
            assert options <= RayActorOptionsSchema.model_fields.keys()
            scaling = deployment.get("autoscaling_config", {})
            assert scaling.keys() <= AutoscalingConfig.model_fields.keys()
            AutoscalingConfig.model_validate({**scaling, "policy": {}})


def test_result_is_plain_json(compiled):
    assert json.loads(json.dumps(compiled)) == compiled


def test_listener_and_applications(compiled):
    assert compiled["http_options"] == {"host": "0.0.0.0", "port": 9000}
    assert compiled["proxy_location"] == "EveryNode"
    assert [(app["name"], app["route_prefix"]) for app in compiled["applications"]] == [
        ("router", "/"),
        ("dispatcher", None),
        ("observatory", None),
        ("llm.production", None),
        ("llm.development", None),
    ]


def test_routers_get_limits_and_hashed_keys_in_place(compiled):
    [router] = application(compiled, "router")["deployments"]
    assert router["num_replicas"] == 2
    assert router["graceful_shutdown_timeout_s"] == 3 + 1200 + 1200
    assert router["user_config"]["max_body_bytes"] == 1_500_000
    assert router["user_config"]["auth"] == {
        "keys": {
            "app": {
                "sha256": hashlib.sha256(SECRET.encode()).hexdigest(),
                "scopes": ["inference", "manage"],
                "models": ["llm"],
                "environments": None,
            }
        }
    }


def test_route_of_an_environment(compiled):
    assert table(compiled)["models"]["llm"]["environments"]["production"] == {
        "application": "llm.production",
        "deployment": "v1",
        "runner": "command",
        "predict_path": "/generate",
        "autoscaling": {
            "min_replica": 1,
            "max_replica": 4,
            "concurrency_target": 6,
            "target_utilization_percentage": 70,
            "autoscaling_window": 60,
            "scale_down_delay": 900,
            "max_scale_down_rate": 50,
            "experimental": False,
            "policy": "concurrency",
        },
        "queue": {
            "policy": "queue_on_full",
            "max_requests": 10_000,
            "max_bytes": 2_000_000,
            "aging_s": 60,
            "handover_s": 0.02,
            "keep_s": 1,
            "lease_s": 5,
        },
        "timeouts": {"park_s": 30, "predict_s": 40, "first_byte_s": 5, "chunk_gap_s": None},
        "retry": {
            "initial_s": 0.25,
            "factor": 1.5,
            "max_s": 60,
            "total_s": 900,
            "connection_attempts": 16,
            "budget_ratio": 0.2,
            "budget_window_s": 10,
        },
        "asynchronous": {
            "max_requests": 50,
            "max_bytes": 1_024_000_000,
            "max_requests_per_key": 5,
            "max_body_bytes": 262_144,
            "run_s": 900,
            "aging_s": 60,
        },
        "slots": 8,
        "max_replica": 4,
    }


def test_dispatchers_are_told_what_routers_are_told(compiled):
    dispatcher = application(compiled, "dispatcher")
    assert dispatcher["import_path"] == "orchestrator.dispatcher.application:build_app"
    [deployment] = dispatcher["deployments"]
    assert deployment["name"] == "Dispatcher"
    assert deployment["num_replicas"] == 3
    assert deployment["user_config"] == table(compiled)


def test_a_dispatcher_that_is_ended_has_time_to_put_back_what_it_ran(compiled):
    dispatcher = application(compiled, "dispatcher")
    [deployment] = dispatcher["deployments"]
    assert dispatcher["args"]["grace_s"] == 10
    assert deployment["graceful_shutdown_timeout_s"] >= 10 + 10


def test_store_results_and_webhooks(compiled):
    found = table(compiled)
    assert found["store"] == "${STORE_URL}"
    assert found["lease_s"] == 20
    assert found["results"] == {
        "url": "s3://bucket/results",
        "keep_s": 2 * 3600,
        "inline_bytes": 64 * 1024,
        "max_bytes": 100_000_000,
    }
    assert found["webhooks"] == {
        "allow_http": False,
        "allowed_networks": ["10.1.0.0/16"],
        "timeout_s": 10,
        "per_host": 16,
        "schedule_s": [1, 2.5],
        "dead_letter_s": 30 * 86_400,
    }


def test_routers_read_what_is_compiled(compiled):
    read = json.loads(msgspec.json.encode(decode(table(compiled))))
    assert read == table(compiled) | {"models": ANY, "auth": ANY}
    route = read["models"]["llm"]["environments"]["production"]
    assert route == table(compiled)["models"]["llm"]["environments"]["production"]


def test_by_default_the_store_is_the_one_that_the_cluster_brings(loaded, small, tmp_path):
    config = loaded(small)
    folder = tmp_path / "results"
    started_by_us = table(compile_serve(config, {}, results_folder=folder))
    assert started_by_us["store"] == "${ORCHESTRATOR_STORE_URL}"
    assert started_by_us["results"]["url"] == f"file://{folder}"
    assert started_by_us["results"]["inline_bytes"] == 1024 * 1024


def test_without_a_folder_results_of_every_size_are_kept_in_the_store(loaded, small):
    results = table(compile_serve(loaded(small), {}))["results"]
    assert results["url"] == ""
    assert results["inline_bytes"] == results["max_bytes"] == 100_000_000


def test_a_submission_is_never_larger_than_what_a_router_takes(loaded, small):
    compiled = compile_serve(loaded(f"router: {{max_body_megabytes: 0.1}}\n{small}"), {})
    [route] = table(compiled)["models"]["echo"]["environments"].values()
    assert route["asynchronous"]["max_body_bytes"] == 100_000


def test_settings_of_a_queue(compiled):
    queue = application(compiled, "llm.production")["deployments"][0]
    assert queue["name"] == "Queue"
    settings = queue["user_config"]
    assert settings["queue"]["async_share"] == 0.1
    assert settings | {"queue": None} == {
        "model": "llm",
        "environment": "production",
        "deployment": "v1",
        "slots": 8,
        "queue": None,
        "autoscaling": {
            "policies": [{"name": "concurrency", "settings": {}}],
            "min_replica": 1,
            "max_replica": 4,
            "concurrency_target": 6,
            "utilization": 0.7,
            "window_s": 60,
            "scale_down_delay_s": 900,
            "max_scale_down_rate": 0.5,
        },
        "startup": {"attempts": 3, "backoff_initial_s": 1, "backoff_max_s": 30},
        "resources": {"num_gpus": 1, "num_cpus": 2},
        "predict_s": 40,
        "telemetry": TELEMETRY,
    }


def test_policies_become_what_a_queue_makes_them_from(loaded):
    policy = "[schedule_, {name: panic, activation_scale: 2}, concurrency]".replace(
        "schedule_",
        "{name: schedule, windows: [{start: '08:00', end: '18:00', replicas: 2}]}",
    )
    changed = FULL.replace("max_replica: 4", f"max_replica: 4, policy: {policy}")
    compiled = compile_serve(loaded(changed, ENV), ENV)
    settings = application(compiled, "llm.production")["deployments"][0]["user_config"]
    assert settings["autoscaling"]["policies"] == [
        {
            "name": "schedule",
            "settings": {"windows": [{"start": "08:00", "end": "18:00", "replicas": 2}]},
        },
        {"name": "panic", "settings": {"activation_scale": 2}},
        {"name": "concurrency", "settings": {}},
    ]
    queue = EnvironmentQueue(EnvironmentSettings.from_mapping(settings), "life", 0.0)
    assert not queue.autoscaler.trouble
    # What operators read is what they wrote.
    route = table(compiled)["models"]["llm"]["environments"]["production"]
    assert [p if isinstance(p, str) else p["name"] for p in route["autoscaling"]["policy"]] == [
        "schedule",
        "panic",
        "concurrency",
    ]


def test_every_process_is_told_what_to_tell(compiled):
    assert table(compiled)["telemetry"] == TELEMETRY
    assert decode(table(compiled)).telemetry == msgspec.convert(TELEMETRY, TelemetrySettings)
    # Whether a replica's requests are sampled is decided before they reach it.
    spec = application(compiled, "llm.production")["args"]["replica"]
    assert spec["telemetry"] == {"slowest_share": 0.02}
    assert ReplicaSpec.model_validate(spec).telemetry == TelemetrySettings(slowest_share=0.02)


def test_telemetry_s_defaults_are_those_of_a_process_that_is_told_nothing(loaded, small):
    compiled = compile_serve(loaded(small), {})
    assert decode(table(compiled)).telemetry == TelemetrySettings()


def test_logs_are_json(compiled):
    for each in compiled["applications"]:
        logging = each["logging_config"]
        assert (logging["encoding"], logging["enable_access_log"]) == ("JSON", False)


def test_serve_makes_no_record_of_a_request_that_its_access_log_would_throw_away(compiled):
    levels = {
        each["name"]: each["logging_config"].get("log_level") for each in compiled["applications"]
    }
    assert levels.pop("router") == "WARNING"
    assert set(levels.values()) == {None}


def test_replica_gets_its_resources_and_time_to_drain(compiled):
    replica = application(compiled, "llm.production")["deployments"][1]
    assert replica["ray_actor_options"] == {
        "num_cpus": 2,
        "num_gpus": 1,
        "memory": 8_000_000_000,
        "accelerator_type": "H100",
    }
    assert replica["graceful_shutdown_timeout_s"] == 40 + 30
    assert replica["autoscaling_config"]["min_replicas"] == 1
    assert replica["autoscaling_config"]["max_replicas"] == 4
    # Serve would take initial_replicas as the new target at every change.
    assert "initial_replicas" not in replica["autoscaling_config"]


def test_parts_of_the_cluster_run_on_any_node(compiled):
    for name, options in part_options(compiled).items():
        assert "label_selector" not in options, name
        assert "resources" not in options, name


@pytest.mark.parametrize(
    ("part", "at"),
    [
        ("router", {"Router"}),
        ("dispatcher", {"Dispatcher"}),
        ("queue", {"Queue"}),
        ("observatory", {"Observatory"}),
    ],
)
def test_a_part_of_the_cluster_is_placed_by_labels(loaded, compiled, part, at):
    labels = {"pool": "control", "ray.io/market-type": "!spot"}
    text = f"placement: {{{part}: {json.dumps(labels)}}}\n{FULL}"
    changed = compile_serve(loaded(text, ENV), ENV)
    ServeDeploySchema.model_validate(changed)
    options, unplaced = part_options(changed), part_options(compiled)
    assert {name for name in options if options[name] != unplaced[name]} == at
    for name in at:
        assert options[name] == unplaced[name] | {"label_selector": labels}


def test_replicas_are_placed_by_labels_and_resources(loaded, compiled):
    changed = compile_serve(loaded(PLACED, ENV), ENV)
    ServeDeploySchema.model_validate(changed)
    assert part_options(changed)["Replica"] == part_options(compiled)["Replica"] | {
        "label_selector": {"disk": "in(nvme,ssd)"},
        "resources": {"licence": 1, "slice": 0.5},
    }


def test_operators_are_told_of_what_a_replica_waits_for(loaded):
    changed = compile_serve(loaded(PLACED, ENV), ENV)
    settings = application(changed, "llm.production")["deployments"][0]["user_config"]
    assert settings["resources"] == {"num_gpus": 1, "num_cpus": 2, "licence": 1, "slice": 0.5}


def test_an_environment_is_built_where_its_queue_may_be_and_not_where_its_replicas_are(loaded):
    """Its replicas' nodes may be started on demand, and so not be there yet."""
    changed = compile_serve(loaded(PLACED, ENV), ENV)
    app = ServeApplicationSchema.model_validate(application(changed, "llm.production"))
    assert _get_shared_build_app_label_selector(app) is None
    queue = part_options(changed)["Queue"]
    assert queue["label_selector"] == {"ray.io/node-id": "!none"}
    placed = compile_serve(loaded(f"placement: {{queue: {{pool: a}}}}\n{PLACED}", ENV), ENV)
    assert part_options(placed)["Queue"]["label_selector"] == {"pool": "a"}


def test_no_secret_gets_into_the_result(compiled):
    text = json.dumps(compiled)
    assert not any(secret in text for secret in ENV.values())
    variables = application(compiled, "llm.production")["args"]["replica"]["environment_variables"]
    assert variables == {"TOKEN": "${TOKEN}"}


def test_target_defaults_to_the_deployments_concurrency(compiled):
    settings = application(compiled, "llm.development")["deployments"][0]["user_config"]
    assert settings["autoscaling"]["concurrency_target"] == 8


def test_without_auth_there_are_no_keys(loaded, small):
    compiled = compile_serve(loaded(small), {})
    assert table(compiled)["auth"] is None
    [route] = table(compiled)["models"]["echo"]["environments"].values()
    assert route["predict_path"] == "/predict"


def test_secret_that_went_away_since_loading_is_an_error(loaded):
    config = loaded(FULL, ENV)
    with pytest.raises(ConfigError, match=r"auth\.keys\.app\.secret: .*APP_SECRET is not set"):
        compile_serve(config, {})


def restarting(compiled: dict[str, Any]) -> str:
    """The parts of a compiled config whose change makes Serve restart replicas."""
    parts = copy.deepcopy(compiled["applications"])
    for application in parts:
        application["deployments"] = [
            (
                deployment["name"],
                deployment["ray_actor_options"],
                deployment.get("autoscaling_config", {}).get("policy"),
            )
            for deployment in application["deployments"]
        ]
    return json.dumps(parts, sort_keys=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_replica: 4", "max_replica: 5, scale_down_delay: 10"),
        ("max_replica: 4", "max_replica: 4, policy: [panic, {name: queue_delay, objective: 2}]"),
        ("max_megabytes: 2", "max_megabytes: 3, policy: reject_on_full"),
        ("predict_seconds: 40", "predict_seconds: 50"),
        ("initial_milliseconds: 250", "initial_milliseconds: 300"),
        ("scopes: [inference, manage]", "scopes: [inference]"),
        ("max_body_megabytes: 1.5", "max_body_megabytes: 2"),
        ("lease_seconds: 20", "lease_seconds: 30"),
        ("dispatcher: {replicas: 3", "dispatcher: {replicas: 4"),
        ("keep_hours: 2", "keep_hours: 3"),
        ("retry_seconds: [1, 2.5]", "retry_seconds: [1, 3]"),
        ("run_seconds: 900", "run_seconds: 1000"),
        ("sampling_percent: 5", "sampling_percent: 6, forward_baggage: true"),
        ("keep_hours: 1,", "keep_hours: 2, kept_requests: 10,"),
        ("concurrency: 8", "concurrency: 8\n        startup: {timeout_seconds: 600}"),
    ],
)
def test_limits_and_autoscaling_change_without_a_restart(loaded, compiled, old, new):
    changed = compile_serve(loaded(FULL.replace(old, new), ENV), ENV)
    assert restarting(changed) == restarting(compiled)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/generate", "/v2/generate"),
        ("num_cpus: 2", "num_cpus: 3"),
        ("num_cpus: 2", "num_cpus: 2, node_labels: {disk: nvme}"),
        ("num_cpus: 2", "num_cpus: 2, custom: {licence: 1}"),
        ("cluster:", "placement: {queue: {pool: control}}\ncluster:"),
        ('TOKEN: "${TOKEN}"', 'TOKEN: "other"'),
        ("concurrency: 8", "concurrency: 9"),
    ],
)
def test_a_change_of_the_deployment_restarts_its_replicas(loaded, compiled, old, new):
    changed = compile_serve(loaded(FULL.replace(old, new), ENV), ENV)
    assert restarting(changed) != restarting(compiled)
