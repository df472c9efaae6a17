"""What becomes of each part."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.planning.change import Kind
from orchestrator.planning.changes import Platform, plan
from orchestrator.planning.deployed import Deployed
from orchestrator.planning.file_fields import SOFTWARE
from tests.unit.planning.states import kinds, paths, planned, put, state

D = "models.echo.deployments.v1"
E = "models.echo.environments.production"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (f"{D}.concurrency", 5, {"echo/production": "restarts queue and replicas"}),
        (f"{D}.resources.num_cpus", 2, {"echo/production": "restarts replicas"}),
        (f"{D}.resources.node_labels", {"zone": "a"}, {"echo/production": "restarts queue and replicas"}),
        (f"{E}.autoscaling.max_replica", 9, {"echo/production": "in place"}),
        (f"{E}.timeouts.predict_seconds", 9, {"echo/production": "in place"}),
        ("router.replicas", 1, {"router": "in place"}),
        ("auth.keys.dev.scopes", ["manage"], {"router": "in place"}),
        ("webhooks.allow_http", True, {"dispatcher": "in place"}),
        ("placement.router", {"zone": "a"}, {"router": "restarts routers"}),
        ("placement.observatory", {"zone": "a"}, {"observatory": "restarts observatory"}),
        ("dispatcher.drain_seconds", 11, {"dispatcher": "restarts dispatchers"}),
        ("cluster.port", 8001, {"cluster": "new cluster"}),
        ("cluster.name", "other", {"cluster": "refused"}),
        (
            "placement.queue",
            {"zone": "a"},
            dict.fromkeys(["echo/production", "echo/staging", "served/production"], "restarts queue"),
        ),
    ],
)  # fmt: skip
def test_a_change_does_to_each_part_what_it_must(
    path: str, value: Any, expected: Mapping[str, str]
) -> None:
    changes = planned(put(path, value))
    assert kinds(changes) == expected
    assert all(change.notice for change in changes)


def test_a_removed_and_an_added_environment_are_said_as_such() -> None:
    def edit(document: dict[str, Any]) -> None:
        environments = document["models"]["echo"]["environments"]
        environments["canary"] = environments.pop("staging")

    changes = planned(edit)
    assert kinds(changes) == {"echo/staging": "removed", "echo/canary": "added"}
    assert [change.kind for change in changes] == [Kind.REMOVED, Kind.ADDED], "the gravest first"
    assert not paths(changes)


def test_what_is_deployed_on_an_empty_cluster_is_all_added() -> None:
    changes = plan(Deployed(applications={}), state(), Platform.RAY)
    assert {change.kind for change in changes} == {Kind.ADDED}
    assert len(changes) == 6


def test_an_environment_that_goes_to_another_deployment_names_that_alone() -> None:
    changes = planned(put(f"{E}.deployment", "v2"))
    assert kinds(changes) == {"echo/production": "restarts queue and replicas"}
    assert paths(changes) == [f"{E}.deployment"]


def test_a_field_stands_at_the_gravest_thing_that_it_causes_and_others_beside_it() -> None:
    def edit(document: dict[str, Any]) -> None:
        put(f"{D}.concurrency", 5)(document)
        put(f"{E}.timeouts.park_seconds", 5)(document)

    changes = planned(edit)
    found = [(change.kind, [field.path for field in change.fields]) for change in changes]
    assert found == [
        (Kind.RESTARTS_QUEUE_AND_REPLICAS, [f"{D}.concurrency"]),
        (Kind.IN_PLACE, [f"{E}.timeouts.park_seconds"]),
    ]


def test_another_release_of_this_software_restarts_what_has_its_version() -> None:
    old = state()
    applications = json.loads(json.dumps(dict(old.applications)))
    for part in ("router", "dispatcher", "observatory"):
        applications[part]["args"]["version"] = "0.0.9"
    changes = plan(replace(old, applications=applications), old)
    assert kinds(changes) == {
        "router": "restarts routers",
        "dispatcher": "restarts dispatchers",
        "observatory": "restarts observatory",
    }
    assert set(paths(changes)) == {SOFTWARE}


def test_a_whole_number_written_with_a_point_restarts_as_serve_compares_text() -> None:
    changes = planned(put(f"{D}.runner.arguments.size", 1.0))
    assert kinds(changes) == {"echo/production": "restarts queue and replicas"}


def test_secrets_are_in_no_output() -> None:
    def edit(document: dict[str, Any]) -> None:
        put(f"{D}.environment_variables", {"TOKEN": "as it is", "NEW": "${OTHER}"})(document)
        put("auth.keys.dev.secret", "${KEY_TWO}")(document)
        put("auth.keys.ops", {"secret": "${KEY}"})(document)

    changes = planned(edit)
    assert set(paths(changes)) == {
        f"{D}.environment_variables.TOKEN",
        f"{D}.environment_variables.NEW",
        "auth.keys.dev.secret",
        "auth.keys.ops",
    }
    said = json.dumps([change.as_json() for change in changes]) + repr(changes)
    for secret in ("as it is", "SECRET", "OTHER", "k" * 20, "K" * 20):
        assert secret not in said
    hashes = [key["sha256"] for key in state().table["auth"]["keys"].values()]
    assert hashes
    assert not any(each in said for each in hashes)


def test_auth_that_is_turned_off_is_one_field() -> None:
    assert paths(planned(put("auth", {"enabled": False}))) == ["auth.enabled"]


def test_requests_longer_than_the_load_balancer_was_started_for_are_said() -> None:
    changes = planned(put(f"{E}.timeouts.predict_seconds", 3000))
    assert kinds(changes) == {"echo/production": "in place", "load balancer": "in place"}
    shorter = planned(put(f"{E}.timeouts.predict_seconds", 300))
    assert "load balancer" not in kinds(shorter)


def test_a_bound_that_follows_from_another_is_not_named_beside_it() -> None:
    assert paths(planned(put("router.max_body_megabytes", 0.1))) == ["router.max_body_megabytes"]
    assert paths(planned(put("results.max_megabytes", 0.1))) == ["results.max_megabytes"]


def test_other_peoples_applications_do_not_matter() -> None:
    theirs = {"name": "theirs", "import_path": "app:main"}
    both = {"applications": [*state().applications.values(), theirs]}
    assert not plan(Deployed.of(both), state(), Platform.RAY)


def test_what_is_in_the_way_is_refused_before_all_else() -> None:
    edit = put("models.echo.deployments.v1.concurrency", 5)
    sentence = "Serve runs there with port 9000"
    changes = plan(state(), state(edit), Platform.RAY, obstacles=[sentence])
    assert [change.kind for change in changes] == [
        Kind.REFUSED,
        Kind.RESTARTS_QUEUE_AND_REPLICAS,
    ]
    assert changes[0].notice == sentence
