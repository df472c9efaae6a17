"""Our applications and those of others in one Serve: a config replaces all or nothing."""

from typing import Any

import msgspec
import pytest

from orchestrator.cluster import applications
from orchestrator.cluster.records import ClusterError

COMPILED: dict[str, Any] = {
    "proxy_location": "EveryNode",
    "http_options": {"host": "0.0.0.0", "port": 8000},
    "applications": [
        {
            "name": "router",
            "route_prefix": "/",
            "import_path": "orchestrator.router.application:build_app",
        },
        {
            "name": "echo.production",
            "route_prefix": None,
            "import_path": "orchestrator.environment:build_app",
        },
    ],
}
OTHERS = {"name": "reports", "route_prefix": "/reports", "import_path": "reports:app", "args": {}}


def serving(*found: dict[str, Any], **more: Any) -> applications.Details:
    """What Serve tells where it runs with these applications."""
    return applications.read(
        {
            "http_options": {"host": "0.0.0.0", "port": 8000},
            "proxy_location": "EveryNode",
            "applications": {each["name"]: described(each) for each in found},
            **more,
        }
    )


def described(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "status": "RUNNING",
        "route_prefix": config["route_prefix"],
        "source": "declarative",
        "deployed_app_config": config,
        **more,
    }


def test_where_serve_does_not_run_all_of_the_config_is_sent() -> None:
    details = applications.read(None)
    assert applications.obstacles(COMPILED, details) == []
    assert applications.combined(COMPILED, details)["applications"] == COMPILED["applications"]


def test_applications_of_others_are_sent_along_as_they_are() -> None:
    details = serving(OTHERS, *COMPILED["applications"], target_capacity=50.0)
    sent = applications.combined(COMPILED, details)
    assert sent["applications"] == [*COMPILED["applications"], OTHERS]
    assert sent["target_capacity"] == 50.0


def test_an_environment_that_left_the_file_is_not_taken_for_somebody_elses() -> None:
    gone = {**COMPILED["applications"][1], "name": "old.production"}
    sent = applications.combined(COMPILED, serving(gone, OTHERS))
    assert [each["name"] for each in sent["applications"]] == [
        "router",
        "echo.production",
        "reports",
    ]


def test_what_was_started_from_code_stays_without_being_sent() -> None:
    details = serving()
    details.applications["notebook"] = applications.Application(
        status="RUNNING", route_prefix="/notebook", source="imperative"
    )
    assert applications.obstacles(COMPILED, details) == []
    assert applications.combined(COMPILED, details)["applications"] == COMPILED["applications"]


def test_an_application_of_others_with_a_name_of_ours_is_in_the_way() -> None:
    details = serving({**OTHERS, "name": "router"})
    assert applications.obstacles(COMPILED, details) == [
        'an application "router" that is not ours runs there; delete or rename it'
    ]


def test_the_routers_route_taken_by_others_is_in_the_way() -> None:
    (said,) = applications.obstacles(COMPILED, serving({**OTHERS, "route_prefix": "/"}))
    assert said.startswith('the application "reports" has the route /')


@pytest.mark.parametrize(
    "config", [None, {**OTHERS, "runtime_env": {"env_vars": {"TOKEN": "<redacted>"}}}]
)
def test_what_could_not_be_kept_as_it_is_is_in_the_way(config: dict[str, Any] | None) -> None:
    details = serving()
    details.applications["reports"] = msgspec.convert(
        described(OTHERS, deployed_app_config=config), applications.Application
    )
    (said,) = applications.obstacles(COMPILED, details)
    assert '"reports", which is not ours, cannot be read' in said
    with pytest.raises(ClusterError, match="cannot be read"):
        applications.without_ours(details)


def test_another_port_of_a_serve_that_runs_is_in_the_way() -> None:
    details = serving(http_options={"host": "0.0.0.0", "port": 9000})
    (said,) = applications.obstacles(COMPILED, details)
    assert "port 9000" in said
    assert "set cluster.port to it" in said


def test_an_option_that_serve_was_not_given_has_its_default() -> None:
    (said,) = applications.obstacles(COMPILED, serving(http_options={}))
    assert "host '127.0.0.1'" in said


def test_a_serve_without_proxies_is_in_the_way() -> None:
    (said,) = applications.obstacles(COMPILED, serving(proxy_location="Disabled"))
    assert "without proxies" in said


def test_undeploying_keeps_others_and_serves_options() -> None:
    sent = applications.without_ours(serving(OTHERS, *COMPILED["applications"]))
    assert sent["applications"] == [OTHERS]
    assert sent["http_options"] == {"host": "0.0.0.0", "port": 8000}


def test_what_is_being_deleted_counts_no_more() -> None:
    details = serving()
    details.applications["router"] = msgspec.convert(
        described(OTHERS, status="DELETING", deployed_app_config=None), applications.Application
    )
    assert applications.obstacles(COMPILED, details) == []
    assert details.ours == []


def test_the_longest_stop_is_that_of_our_parts_alone() -> None:
    def stopping(config: dict[str, Any], seconds: float) -> dict[str, Any]:
        deployment = {"deployment_config": {"graceful_shutdown_timeout_s": seconds}}
        return described(config, deployments={"One": deployment})

    router, echo = COMPILED["applications"]
    details = serving()
    for config, seconds in ((OTHERS, 9000.0), (router, 662.0), (echo, 630.0)):
        details.applications[str(config["name"])] = msgspec.convert(
            stopping(config, seconds), applications.Application
        )
    assert applications.longest_stop_seconds(details) == 662.0
    assert applications.longest_stop_seconds(serving(OTHERS)) is None
