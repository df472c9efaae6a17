"""What makes KubeRay start a new cluster, and what it changes in the one that runs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.planning.change import Kind
from orchestrator.planning.changes import Platform, plan
from tests.unit.planning.states import kinds, paths, planned, put, state

D = "models.echo.deployments.v1"
E = "models.echo.environments.production"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{E}.timeouts.predict_seconds", 3000),
        ("cluster.max_connections", 512),
        ("router.drain_seconds", 9),
        ("store", "${OTHER}"),
        (f"{D}.environment_variables.TOKEN", "${OTHER}"),
        ("models.served.deployments.v1.resources.num_gpus", 2),
    ],
)
def test_what_stands_in_pods_makes_a_new_cluster(
    path: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(state.__globals__["ENVIRONMENT"], "OTHER", "redis://host:6379")
    changes = planned(put(path, value), Platform.KUBERNETES)
    assert kinds(changes)["pods"] == "new cluster"
    assert changes[0].kind is Kind.NEW_CLUSTER


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{E}.autoscaling.max_replica", 9),
        ("router.replicas", 1),
        (f"{D}.concurrency", 9),
        ("auth.keys.dev.scopes", ["manage"]),
        (f"{E}.timeouts.predict_seconds", 30),  # another environment's is longer
    ],
)
def test_the_rest_goes_to_the_running_cluster(path: str, value: Any) -> None:
    assert Kind.NEW_CLUSTER not in {c.kind for c in planned(put(path, value), Platform.KUBERNETES)}


def test_another_shape_of_replica_is_another_worker_group() -> None:
    def edit(document: dict[str, Any]) -> None:
        big = {"deployments": {"v1": {"runner": _RUNNER, "resources": {"num_gpus": 2}}}}
        document["models"]["big"] = big | {"environments": {"production": {"deployment": "v1"}}}

    changes = planned(edit, Platform.KUBERNETES)
    assert kinds(changes) == {"big/production": "added", "worker groups": "in place"}


def test_a_new_image_makes_a_new_cluster() -> None:
    applications = json.loads(json.dumps(dict(state().applications)))
    applications["router"]["args"]["version"] = "0.0.9"
    changes = plan(replace(state(), applications=applications), state(), Platform.KUBERNETES)
    assert kinds(changes)["pods"] == "new cluster"


def test_another_name_is_another_service() -> None:
    changes = planned(put("cluster.name", "other"), Platform.KUBERNETES)
    assert kinds(changes) == {"RayService": "added"}
    assert paths(changes) == ["cluster.name"]


_RUNNER = {"type": "python", "class": "replicas.examples.echo:Echo"}
