"""Whatever stands in the file, it loads or is refused with a place and a reason."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.config import ConfigError, Problem, load_text

ENV = {"SECRET": "0123456789abcdef", "STORE": "redis://store:6379", "GCS": "redis://gcs:6379"}
POLICIES: list[Any] = [
    "concurrency",
    {"name": "panic", "stable_window": 30, "activation_scale": 2},
    {
        "name": "schedule",
        "timezone": "Europe/Berlin",
        "windows": [{"days": ["mon"], "start": "08:00", "end": "18:00", "replicas": 2}],
    },
]
FULL: dict[str, Any] = {
    "cluster": {"name": "any", "host": "127.0.0.1", "gpus": 2, "gcs_store": "${GCS}"},
    "placement": {"router": {"pool": "a"}, "queue": {"zone": "in(a, b)"}},
    "router": {"replicas": 1},
    "store": "${STORE}",
    "dispatcher": {"replicas": 1},
    "results": {"url": "s3://bucket"},
    "webhooks": {"allowed_networks": ["10.0.0.0/8"], "retry_seconds": [1, 2]},
    "auth": {
        "enabled": True,
        "keys": {"app": {"secret": "${SECRET}", "scopes": ["inference"], "models": ["m"]}},
    },
    "models": {
        "m": {
            "deployments": {
                "python": {
                    "runner": {"type": "python", "class": "a.b:C", "arguments": {"x": [1]}},
                    "resources": {
                        "num_gpus": 1,
                        "node_labels": {"disk": "!hdd"},
                        "custom": {"licence": 1},
                    },
                    "environment_variables": {"A": "b"},
                },
                "command": {
                    "runner": {"type": "command", "command": ["run", "{port}"]},
                    "startup": {"attempts": 2},
                },
            },
            "environments": {
                "production": {
                    "deployment": "python",
                    "autoscaling": {"max_replica": 2, "policy": POLICIES},
                    "queue": {"policy": "reject_on_full"},
                    "timeouts": {"park_seconds": 3},
                    "retry": {"factor": 2},
                    "async_requests": {"max_requests_per_key": 3, "max_body_kilobytes": 2},
                }
            },
        }
    },
}


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every key and list item."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def replaced(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of `data` with `value` at `path`."""
    if not path:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


def problems_of(text: str) -> list[Problem]:
    """What is wrong with a text; nothing if it loads."""
    try:
        load_text(text, "any.yaml", ENV)
    except ConfigError as error:
        return error.errors
    return []


words = st.sampled_from(
    ["type", "class", "python", "${SECRET}", "${STORE}", "${", "://", "m", "production", "name"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@given(path=st.sampled_from(places(FULL)), value=values)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_any_place(path, value):
    text = json.dumps(replaced(FULL, path, value), indent=1)
    problems = problems_of(text)
    assert all(problem.rule and problem.line for problem in problems)


@given(text=st.text(alphabet="ab:-{}[]&*!|>'\"#%@,?\n \t<", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text(text):
    with pytest.raises(ConfigError):
        load_text(text, "any.yaml", ENV)
