"""Our rules say of each option what Serve's own code says."""

import copy
import json
from typing import Any

import pytest
from ray.serve._private.application_state import override_deployment_info
from ray.serve._private.config import DeploymentConfig, ReplicaConfig
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve._private.version import DeploymentVersion
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema

from orchestrator.planning.deployed import deployments_of
from orchestrator.planning.serve_rules import effect
from tests.unit.planning.states import state

REPLICA: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 2, "label_selector": {"zone": "a"}},
    "max_surge_percent": 50,
    "health_check_period_s": 7,
    "health_check_timeout_s": 7,
    "graceful_shutdown_timeout_s": 7,
    "graceful_shutdown_wait_loop_s": 7,
    "max_ongoing_requests": 7,
    "max_queued_requests": 7,
    "user_config": {"a": 1},
    "logging_config": {"encoding": "TEXT"},
    "placement_group_bundles": [{"CPU": 1}],
    "max_replicas_per_node": 3,
    "rolling_update_percentage": 0.5,
    "max_constructor_retry_count": 7,
}
"""An option of the deployment, and another value of it."""


@pytest.mark.parametrize("option", REPLICA)
def test_an_option_restarts_replicas_exactly_where_serve_says_so(option: str) -> None:
    old = _application()
    new = _changed("Replica", option, REPLICA[option])
    expected = _serve_restarts(old, new)
    assert (effect(old, new).restarted == {"Replica"}) is expected
    assert not effect(old, new).everything


@pytest.mark.parametrize(
    "bounds", [{"max_replicas": 9}, {"min_replicas": 0}, {"downscale_delay_s": 1}]
)
def test_bounds_of_autoscaling_restart_nothing_and_its_policy_everything(bounds: Any) -> None:
    config = deployments_of(_application())["Replica"]["autoscaling_config"]
    new = _changed("Replica", "autoscaling_config", config | bounds)
    assert _code_version(new) == _code_version(_application())
    assert not effect(_application(), new).restarted
    policy = config["policy"] | {"policy_kwargs": {"application": "another"}}
    new = _changed("Replica", "autoscaling_config", config | {"policy": policy})
    assert _code_version(new) != _code_version(_application())
    assert effect(_application(), new).restarted == {"Queue", "Replica"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("args", {"replica": {}}),
        ("import_path", "orchestrator.other:build_app"),
        ("runtime_env", {"env_vars": {"A": "b"}}),
        ("logging_config", {"encoding": "TEXT"}),
        ("route_prefix", "/elsewhere"),
    ],
)
def test_a_key_of_the_application_restarts_all_of_it_exactly_where_serve_says_so(
    key: str, value: Any
) -> None:
    new = _application() | {key: value}
    differs = _code_version(new) != _code_version(_application())
    assert (effect(_application(), new).restarted == {"Queue", "Replica"}) is differs


def test_every_option_of_a_deployment_that_serve_knows_was_thought_of() -> None:
    ours = {
        *REPLICA, "name", "num_replicas", "autoscaling_config", "request_router_config",
        "deployment_actors", "gang_scheduling_config", "placement_group_strategy",
        "placement_group_bundle_label_selector", "placement_group_fallback_strategy",
        "backpressure_config",
    }  # fmt: skip
    assert set(DeploymentSchema.model_fields) <= ours


def _application() -> dict[str, Any]:
    return json.loads(json.dumps(state().applications["echo.production"]))  # type: ignore[no-any-return]


def _changed(deployment: str, option: str, value: Any) -> dict[str, Any]:
    application = copy.deepcopy(_application())
    deployments_of(application)[deployment][option] = value
    return application


def _code_version(application: dict[str, Any]) -> str:
    return str(get_app_code_version(ServeApplicationSchema.model_validate(application)))


def _serve_restarts(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """What Serve's own comparison of two versions of the replicas says."""
    if _code_version(old) != _code_version(new):
        return True
    before, after = _version(old), _version(new)
    return bool(before.requires_actor_restart(after))


def _version(application: dict[str, Any]) -> DeploymentVersion:
    schema = ServeApplicationSchema.model_validate(application)
    built = {name: _info() for name in ("Queue", "Replica")}
    info = override_deployment_info(built, schema)["Replica"]
    options = info.replica_config
    return DeploymentVersion(
        "the code",
        info.deployment_config,
        options.ray_actor_options,
        placement_group_bundles=options.placement_group_bundles,
        max_replicas_per_node=options.max_replicas_per_node,
    )


def _info() -> DeploymentInfo:
    return DeploymentInfo(
        deployment_config=DeploymentConfig(),
        replica_config=ReplicaConfig.create(dict),
        start_time_ms=0,
        deployer_job_id="",
    )
