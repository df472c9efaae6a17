"""Each field of the file, changed alone, is named by the plan, with its values as in the file."""

from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from orchestrator.config import Config
from orchestrator.planning.change import Kind
from tests.unit.planning.states import config, paths, planned, put, state

D = "models.echo.deployments.v1"
E = "models.echo.environments.production"
C = "models.served.deployments.v1.runner"

CHANGED: dict[str, Any] = {
    "cluster.name": "other",
    "cluster.host": "127.0.0.2",
    "cluster.port": 8001,
    "cluster.cpus": 3,
    "cluster.gpus": 3,
    "cluster.max_connections": 512,
    "cluster.gcs_store": "redis://host:6379",
    "router.replicas": 1,
    "router.max_body_megabytes": 99,
    "router.drain_seconds": 3,
    "auth.enabled": False,
    "auth.keys.dev.secret": "${KEY_TWO}",
    "auth.keys.dev.scopes": ["manage"],
    "auth.keys.dev.models": ["echo"],
    "auth.keys.dev.environments": ["staging"],
    "store": "redis://host:6379/0",
    "dispatcher.replicas": 2,
    "dispatcher.lease_seconds": 31,
    "dispatcher.drain_seconds": 11,
    "results.url": "s3://bucket/other",
    "results.keep_hours": 12,
    "results.inline_kilobytes": 512,
    "results.max_megabytes": 99,
    "webhooks.allow_http": True,
    "webhooks.allowed_networks": ["10.0.0.0/8"],
    "webhooks.timeout_seconds": 9,
    "webhooks.concurrency_per_host": 8,
    "webhooks.retry_seconds": [1, 2],
    "webhooks.dead_letter_days": 20,
    "telemetry.sampling_percent": 2,
    "telemetry.keep_slowest_percent": 2,
    "telemetry.keep_hours": 12,
    "telemetry.kept_requests": 100,
    "telemetry.recent_requests": 1000,
    "telemetry.forward_baggage": True,
    f"{D}.runner.class": "replicas.examples.timed:Timed",
    f"{D}.runner.arguments.size": 2,
    f"{C}.command": ["serve", "{port}"],
    f"{C}.working_directory": "/models",
    f"{C}.health_path": "/alive",
    f"{C}.predict_path": "/run",
    f"{D}.resources.num_cpus": 2,
    f"{D}.resources.num_gpus": 1,
    f"{D}.resources.memory_gigabytes": 2,
    f"{D}.resources.accelerator_type": "H100",
    f"{D}.resources.node_labels": {"zone": "a"},
    f"{D}.resources.custom": {"fast_disk": 1},
    f"{D}.concurrency": 5,
    f"{D}.startup.timeout_seconds": 60,
    f"{D}.startup.attempts": 2,
    f"{D}.startup.backoff_initial_seconds": 2,
    f"{D}.startup.backoff_max_seconds": 20,
    f"{D}.health.interval_seconds": 4,
    f"{D}.health.timeout_seconds": 4,
    f"{D}.health.failures": 2,
    f"{D}.environment_variables.TOKEN": "${OTHER}",
    f"{E}.deployment": "v2",
    f"{E}.autoscaling.min_replica": 2,
    f"{E}.autoscaling.max_replica": 5,
    f"{E}.autoscaling.concurrency_target": 3,
    f"{E}.autoscaling.target_utilization_percentage": 60,
    f"{E}.autoscaling.autoscaling_window": 30,
    f"{E}.autoscaling.scale_down_delay": 60,
    f"{E}.autoscaling.max_scale_down_rate": 40,
    f"{E}.autoscaling.experimental": True,
    f"{E}.autoscaling.policy": "panic",
    f"{E}.queue.policy": "reject_on_full",
    f"{E}.queue.max_requests": 9,
    f"{E}.queue.max_megabytes": 9,
    f"{E}.queue.aging_seconds": 9,
    f"{E}.queue.async_share_percent": 9,
    f"{E}.queue.handover_milliseconds": 9,
    f"{E}.queue.keep_seconds": 2,
    f"{E}.queue.lease_seconds": 9,
    f"{E}.timeouts.park_seconds": 9,
    f"{E}.timeouts.predict_seconds": 9,
    f"{E}.timeouts.first_byte_seconds": 9,
    f"{E}.timeouts.chunk_gap_seconds": 9,
    f"{E}.retry.initial_milliseconds": 9,
    f"{E}.retry.factor": 2,
    f"{E}.retry.max_seconds": 9,
    f"{E}.retry.total_seconds": 9,
    f"{E}.retry.connection_attempts": 9,
    f"{E}.retry.budget_percent": 9,
    f"{E}.retry.budget_window_seconds": 9,
    f"{E}.async_requests.max_requests": 9,
    f"{E}.async_requests.max_megabytes": 9,
    f"{E}.async_requests.max_requests_per_key": 9,
    f"{E}.async_requests.max_body_kilobytes": 9,
    f"{E}.async_requests.run_seconds": 9,
    "placement.router": {"zone": "a"},
    "placement.dispatcher": {"zone": "a"},
    "placement.queue": {"zone": "a"},
    "placement.observatory": {"zone": "a"},
}
OF_PEOPLE_ALONE = {"models.*.description", "models.*.deployments.*.runner.type"}


@pytest.mark.parametrize("path", CHANGED)
def test_a_changed_field_is_named_with_its_values(path: str) -> None:
    changes = planned(put(path, CHANGED[path]))
    named = {field.path: field for change in changes for field in change.fields}
    value = CHANGED[path]
    if isinstance(value, dict):  # each key is a field
        assert list(named) == [f"{path}.{key}" for key in value]
        assert [field.new for field in named.values()] == list(value.values())
        return
    assert list(named) == [path]
    assert len(paths(changes)) == len({change.part for change in changes}), "once for each part"
    field = named[path]
    if path.endswith(("secret", "TOKEN")):
        assert (field.secret, field.old, field.new) == (True, None, None)
    else:
        assert field.new == value
        assert field.old == _in_file(path)


def test_the_list_above_has_every_field() -> None:
    generic = {_generic(path) for path in CHANGED} | OF_PEOPLE_ALONE
    assert set(_fields(Config, "")) <= generic


def test_the_unchanged_file_changes_nothing() -> None:
    assert not planned(lambda _: None)
    assert state().longest_request_s == config().longest_request_seconds


def test_a_description_is_for_people_and_changes_nothing() -> None:
    assert not planned(put("models.echo.description", "Says it again."))


def test_another_type_of_runner_is_named_as_such() -> None:
    runner = {"type": "command", "command": ["serve", "{port}"]}
    changes = planned(put(f"{D}.runner", runner))
    assert paths(changes) == [f"{D}.runner.type"]
    assert changes[0].kind is Kind.RESTARTS_QUEUE_AND_REPLICAS


def _in_file(path: str) -> Any:
    """The value of the unchanged file, defaults filled in."""
    value: Any = config().model_dump(by_alias=True)
    for key in path.split("."):
        value = value[key]
    return value


def _generic(path: str) -> str:
    keys = path.split(".")
    if keys[0] == "models":
        keys[1] = keys[3] = "*"
    if keys[:2] == ["auth", "keys"]:
        keys[2] = "*"
    if "arguments" in keys or "environment_variables" in keys:
        keys = keys[:-1]
    return ".".join(keys)


def _fields(section: type[BaseModel], below: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        path = below + (field.alias or name)
        inner = list(_sections(field.annotation))
        if not inner:
            yield path
        for one in inner:
            many = "dict" in str(field.annotation)
            yield from _fields(one, f"{path}.*." if many else f"{path}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        if inner is not NoneType:
            yield from _sections(inner)
