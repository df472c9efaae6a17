"""Health, the API's description, and the management reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.router.app import RouterApp
from orchestrator.router.durable import DurablePlane
from orchestrator.router.openapi import describe_api
from orchestrator.router.oversight import Oversight
from orchestrator.router.table import decode
from orchestrator.router.targets import Action
from tests.unit.router.harness import Slots, serving, table

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


async def _get(rig: Rig, path: str) -> tuple[int, Any]:
    async with rig.http.get(rig.url + path) as response:
        assert response.headers["x-request-id"] == response.headers["x-baseten-request-id"]
        return response.status, await response.json()


async def test_health(rig: Rig) -> None:
    assert await _get(rig, "/healthz") == (200, {"status": "ok"})
    assert await _get(rig, "/readyz") == (200, {"status": "ready"})


async def test_a_router_without_a_table_is_alive_and_not_ready(rig: Rig) -> None:
    async with serving(RouterApp(make_permits=lambda *_: Slots(), version="1")) as url:
        async with rig.http.get(f"{url}/healthz") as response:
            assert response.status == 200
        async with rig.http.get(f"{url}/readyz") as response:
            assert (response.status, await response.json()) == (503, {"status": "starting"})
        async with rig.http.post(f"{url}/models/echo/production/predict") as response:
            assert response.status == 503
            assert response.headers["retry-after"]


async def test_a_router_that_drains_says_so(rig: Rig) -> None:
    await rig.app.close()
    assert await _get(rig, "/readyz") == (503, {"status": "draining"})
    async with rig.http.post(rig.predict) as response:
        assert response.status == 503
        assert "shutting down" in (await response.json())["error"]
    assert rig.echo.closed


async def test_models_and_environments_can_be_read(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {}, "staging": {"deployment": "v2"}}}))
    status, body = await _get(rig, "/api/v1/models")
    assert status == 200
    (model,) = body["models"]
    assert model["name"] == "echo"
    assert model["deployments"] == ["v1", "v2"]
    assert model["production_deployment"] == "v1"
    assert await _get(rig, "/api/v1/models/echo") == (200, model)
    status, environment = await _get(rig, "/api/v1/models/echo/environments/staging")
    assert status == 200
    assert environment["deployment"] == "v2"
    assert environment["status"] == "ACTIVE"
    assert environment["live"]["replicas"] == []
    assert environment["timeouts"]["park_s"] == 1200.0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/models/nope", 404),
        ("GET", "/api/v1/models/echo/environments/nope", 404),
        ("GET", "/api/v1/nope", 404),
        ("GET", "/api/v1/models/", 404),
        ("POST", "/api/v1/models", 405),
        ("DELETE", "/healthz", 405),
    ],
)
async def test_refusals_have_our_shape(rig: Rig, method: str, path: str, status: int) -> None:
    async with rig.http.request(method, rig.url + path) as response:
        body = await response.json()
        assert response.status == status
        assert set(body) == {"error", "error_code", "detail", "request_id"}
        if status == 405:
            assert "GET" in response.headers["allow"]


async def test_the_description_is_served(rig: Rig) -> None:
    status, document = await _get(rig, "/openapi.json")
    assert status == 200
    assert document["info"]["version"] == "1.2.3"
    assert "security" not in document


def test_the_description_is_true_to_the_table_and_has_no_loose_ends() -> None:
    document = describe_api("1", decode(table(auth={"keys": {}})))
    assert document["security"]
    references: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                references.append(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    for reference in references:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
    ]
    assert len(operations) == len(set(operations))


def test_the_description_has_all_that_operators_can_do() -> None:
    paths = describe_api("1", None)["paths"]
    for path, handlers in Oversight(DurablePlane()).operations.items():
        assert {method.upper() for method in paths[f"/api/v1{path}"]} - {"PARAMETERS"} == set(
            handlers
        )


def test_the_description_has_every_action_of_every_target() -> None:
    described = {
        path.removeprefix("/models/{model}").partition("{path}")[0].rstrip("/")
        for path in describe_api("1", None)["paths"]
    }
    for target in ("/production", "/environments/{environment}", "/deployment/{deployment}"):
        for action in set(Action) - {Action.ASYNC_REQUEST}:
            assert f"{target}/{action}" in described


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"models": []}, "models"),
        ({"models": {"m": {"environments": {"production": {}}}}}, "application"),
        ({"max_body_bytes": "many"}, "max_body_bytes"),
    ],
)
async def test_a_broken_table_is_refused_and_the_old_one_stays(
    rig: Rig, broken: dict[str, Any], place: str
) -> None:
    with pytest.raises(ValueError, match=place):
        rig.app.configure(broken)
    assert (await _get(rig, "/api/v1/models/echo"))[0] == 200
