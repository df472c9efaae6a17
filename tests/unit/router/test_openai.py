"""The shared host: the body's `model` says where a request goes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tests.unit.router.harness import table
from tests.unit.router.test_proxying import Recorder

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


@pytest.mark.parametrize(
    "path",
    ["chat/completions", "completions", "embeddings", "responses", "messages"],
)
async def test_the_body_goes_unchanged_to_the_same_path(rig: Rig, path: str) -> None:
    replica = Recorder()
    await rig.replica(replica)
    body = b'{ "model": "echo",\n "messages": [] , "n":1e2}'
    async with rig.http.post(f"{rig.url}/v1/{path}?beta=true", data=body) as response:
        assert response.status == 200
    assert replica.bodies == [body]
    assert replica.scopes[0]["raw_path"] == f"/v1/{path}".encode()
    assert replica.scopes[0]["query_string"] == b"beta=true"


async def test_a_model_may_name_its_environment(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {}, "development": {}}}))
    replica = Recorder()
    await rig.replica(replica, application="echo.development")
    url = f"{rig.url}/v1/embeddings"
    async with rig.http.post(url, json={"model": "echo/development"}) as response:
        assert response.status == 200
    async with rig.http.get(f"{rig.url}/v1/models") as response:
        assert response.status == 200
        names = [model["id"] for model in (await response.json())["data"]]
    assert names == ["echo/development", "echo"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b'{"model": "\xff"}', 400, "body"),
        (b"[]", 400, "model"),
        (b"{}", 400, "model"),
        (b'{"model": 3}', 400, "model"),
        (b'{"model": null}', 400, "model"),
        (b'{"model": "nope"}', 404, None),
        (b'{"model": "echo/nope"}', 404, None),
        (b'{"model": ""}', 404, None),
    ],
)
async def test_refusals_have_openais_shape(
    rig: Rig, body: bytes, status: int, param: str | None
) -> None:
    async with rig.http.post(f"{rig.url}/v1/chat/completions", data=body) as response:
        error = (await response.json())["error"]
        assert response.status == status
        assert error["param"] == param
        assert error["message"]
        assert error["type"] in ("invalid_request_error", "not_found_error")
        assert error["code"] in ("client_error", "model_does_not_exist")
        assert error["request_id"] == response.headers["x-request-id"]


async def test_refusals_at_a_replicas_own_v1_have_openais_shape(rig: Rig) -> None:
    base = f"{rig.url}/models/nope/environments/production/sync"
    async with rig.http.post(f"{base}/v1/chat/completions", json={}) as response:
        assert response.status == 404
        assert "no model 'nope'" in (await response.json())["error"]["message"]
    async with rig.http.post(f"{base}/v2/chat", json={}) as response:
        assert response.status == 404
        assert "no model 'nope'" in (await response.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "chat/completions", 405), ("POST", "models", 405), ("POST", "nope", 404)],
)
async def test_other_methods_and_paths(rig: Rig, method: str, path: str, status: int) -> None:
    async with rig.http.request(method, f"{rig.url}/v1/{path}") as response:
        assert response.status == status
        assert "error" in await response.json()


async def test_a_large_body_is_routed_by_its_model_too(rig: Rig) -> None:
    replica = Recorder()
    await rig.replica(replica)
    body = b'{"input": "%b", "model": "echo"}' % (b"x" * 3_000_000)
    async with rig.http.post(f"{rig.url}/v1/embeddings", data=io.BytesIO(body)) as response:
        assert response.status == 200
    assert replica.bodies == [body]
