from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.replicas import models

if TYPE_CHECKING:
    import aiohttp

    from tests.unit.replicas.conftest import StartReplica


@pytest.mark.parametrize("model", ["AsyncEcho", "SyncEcho", "HealthAsked"])
@pytest.mark.parametrize("body", [{"a": [1, 2.5, None, "é"]}, [], "text", 7, True, None])
async def test_json_in_json_out(start: StartReplica, http, model, body):
    replica = await start(model)
    async with http.post(f"{replica.address}/predict", data=json.dumps(body)) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.json() == body


async def test_a_body_in_many_pieces_is_put_together(start, http):
    replica = await start("AsyncEcho")
    body = {"text": "x" * 900_000}
    async with http.post(f"{replica.address}/predict", json=body) as answer:
        assert await answer.json() == body


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("bytes", "application/octet-stream", b"\x00\x01"),
        ("text", "application/json", '"héllo"'.encode()),
        ("pydantic", "application/json", b'{"x":1}'),
        ("array", "application/json", b'{"vector":[0.5,1.0]}'),
    ],
)
async def test_what_else_a_model_may_return(start, http, body, content_type, expected):
    replica = await start("Answers")
    async with http.post(f"{replica.address}/predict", json=body) as answer:
        assert (answer.status, answer.content_type) == (200, content_type)
        assert await answer.read() == expected


async def test_a_response_of_the_models_own_passes_unchanged(start, http):
    replica = await start("Answers")
    async with http.post(f"{replica.address}/predict", json="response") as answer:
        assert (answer.status, answer.headers["x-model"]) == (418, "yes")
        assert await answer.text() == "teapot"


async def error_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await answer.json()
    assert set(body) == {"error", "error_code", "detail", "request_id"}
    return body


async def test_what_cannot_be_written_as_json_names_its_type(start, http):
    replica = await start("Answers")
    async with http.post(f"{replica.address}/predict", json="object") as answer:
        assert answer.status == 500
        assert (
            "a value of type object cannot be written as JSON" in (await error_of(answer))["error"]
        )


async def test_a_model_that_raises_is_a_500_with_the_request_id(start, http):
    replica = await start("Raises")
    headers = {"x-request-id": "r-1"}
    async with http.post(f"{replica.address}/predict", json=1, headers=headers) as answer:
        assert answer.status == 500
        assert await error_of(answer) == {
            "error": "the model raised RuntimeError: out of memory",
            "error_code": "application_error",
            "detail": {},
            "request_id": "r-1",
        }


@pytest.mark.parametrize("model", ["Raises", "RaisesBeforeFirstChunk"])
async def test_invalid_input_is_a_422(start, http, model):
    replica = await start(model)
    async with http.post(f"{replica.address}/predict", json="invalid") as answer:
        assert answer.status == 422
        body = await error_of(answer)
        assert body["error_code"] == "client_error"
        assert body["error"] in {"`size` must be at most 10", "nothing to stream"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":1} x'])
async def test_a_body_that_is_not_json_is_a_400(start, http, body):
    replica = await start("AsyncEcho")
    async with http.post(f"{replica.address}/predict", data=body) as answer:
        assert answer.status == 400
        assert (await error_of(answer))["error"].startswith("the body is not JSON: ")


async def test_another_method_or_path_is_refused_with_what_would_be_right(start, http):
    replica = await start("AsyncEcho")
    async with http.get(f"{replica.address}/predict") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    async with http.post(f"{replica.address}/v1/models") as answer:
        assert answer.status == 404
        assert "/predict" in (await error_of(answer))["error"]


@pytest.mark.parametrize("model", ["AsyncBlocked", "SyncBlocked"])
async def test_above_its_slots_a_replica_refuses_and_then_goes_on(start, http, model):
    replica = await start(model, slots=2)
    url = f"{replica.address}/predict"
    running = [asyncio.create_task(http.post(url, json=1)) for _ in range(2)]
    await models.until_entered()
    await models.until_entered()

    async with http.post(url, json=1) as answer:
        assert answer.status == 503
        assert answer.headers["x-orchestrator-reject"] == "capacity"
        assert (await error_of(answer))["error_code"] == "model_unavailable"
    async with http.get(f"{replica.address}/health") as answer:
        assert answer.status == 200

    models.release()
    for response in await asyncio.gather(*running):
        assert response.status == 200
        response.release()
    async with http.post(url, json=1) as answer:
        assert answer.status == 200


async def test_a_caller_that_hangs_up_cancels_an_async_model(start, http):
    replica = await start("AsyncBlocked", slots=1)
    request = asyncio.create_task(http.post(f"{replica.address}/predict", json=1))
    await models.until_entered()
    request.cancel()
    await models.until_stopped()
    async with http.post(f"{replica.address}/predict", json=2) as answer:
        assert await answer.json() == 2


async def test_a_thread_keeps_its_slot_after_its_caller_has_hung_up(start, http):
    replica = await start("SyncBlocked", slots=1)
    request = asyncio.create_task(http.post(f"{replica.address}/predict", json=1))
    await models.until_entered()
    request.cancel()
    async with http.post(f"{replica.address}/predict", json=1) as answer:
        assert answer.status == 503
    models.release()


async def test_sync_models_run_in_threads_of_their_own(start, http):
    replica = await start("SyncBlocked")
    models.release()
    async with http.post(f"{replica.address}/predict", json=1) as answer:
        assert (await answer.json())["thread"].startswith("predict")


async def test_other_paths_go_to_the_models_own_application(start, http):
    replica = await start("WithApp")
    async with http.get(f"{replica.address}/v1/models?a=1") as answer:
        assert await answer.json() == {"started": True, "query": {"a": "1"}}
    async with http.post(f"{replica.address}/predict", json=3) as answer:
        assert await answer.json() == 3
    async with http.get(f"{replica.address}/raises") as answer:
        assert answer.status == 500
    await replica.close()
    await models.until_stopped()


async def test_a_caller_that_hangs_up_cancels_the_models_own_application(start, http):
    replica = await start("WithApp", slots=1)
    request = asyncio.create_task(http.post(f"{replica.address}/blocked", data=b"x"))
    await models.until_entered()
    async with http.get(f"{replica.address}/v1/models") as answer:
        assert answer.status == 503  # other paths hold slots too
    request.cancel()
    await models.until_stopped()
