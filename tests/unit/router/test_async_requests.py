"""Asynchronous requests over HTTP, with a real store and a dispatcher's hand in the test."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.store.keys import tag_of
from orchestrator.store.records import Error, Result, Try

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

TAG = tag_of("echo", "production")
TARGET = "/models/echo/production"
SUBMIT = f"{TARGET}/async_predict"
BODY: dict[str, Any] = {"model_input": {"text": "hello"}}
UNKNOWN = "0" * 32


async def _run(store: Store, data: bytes = b'{"said": 1}', kind: str = "application/json") -> str:
    """What a dispatcher does: claims the best request and ends it well."""
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    result = Result(content_type=kind, size=len(data), data=data)
    assert await store.requests.succeed(claim.request_id, claim.attempt, result)
    return claim.request_id


async def test_from_its_submission_to_its_result(durable: Rig, store: Store) -> None:
    async with durable.http.post(durable.url + SUBMIT, json=BODY) as response:
        assert response.status == 201
        answer = await response.json()
        assert set(answer) == {"request_id"}
        # The call and the request have an id each.
        assert answer["request_id"] != response.headers["x-request-id"]
        assert response.headers["x-baseten-request-id"] == response.headers["x-request-id"]
    request_id = answer["request_id"]

    status, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert status == 200
    created_at = shown.pop("created_at")
    assert datetime.fromisoformat(created_at).tzinfo is not None
    assert created_at.endswith("Z")
    assert shown.pop("status_at") == created_at
    assert shown == {
        "request_id": request_id,
        "model_id": "echo",
        "deployment_id": "v1",
        "environment": "production",
        "status": "QUEUED",
        "webhook_status": "NO_WEBHOOK_PROVIDED",
        "priority": 0,
        "attempts": 0,
        "queue_position": 0,
        "errors": [],
        "result": None,
    }

    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    assert claim.input == b'{"text": "hello"}'
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert (shown["status"], shown["attempts"], shown["queue_position"]) == ("IN_PROGRESS", 1, None)

    data = b'{"said":  "hello", "n": 1e400}'
    await store.requests.succeed(request_id, 1, Result("application/json", len(data), data))
    async with durable.http.get(f"{durable.url}/async_request/{request_id}") as response:
        text = await response.read()
    assert b'"status":"SUCCEEDED"' in text
    assert b'"result":' + data in text  # as the model wrote it


@pytest.mark.parametrize(
    ("data", "content_type", "result"),
    [
        (b"[1, 2]", "application/json; charset=utf-8", [1, 2]),
        (b"null", "application/json", None),
        (b"{broken", "application/json", "{broken"),
        ("grüß dich".encode(), "text/plain; charset=utf-8", "grüß dich"),
        (
            b"\x00\xff",
            "image/png",
            {"content_type": "image/png", "base64": base64.b64encode(b"\x00\xff").decode()},
        ),
        (b"", "text/plain", ""),
    ],
)
async def test_results_of_every_kind(
    durable: Rig, store: Store, data: bytes, content_type: str, result: Any
) -> None:
    await durable.submit()
    request_id = await _run(store, data, content_type)
    status, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert (status, shown["status"], shown["result"]) == (200, "SUCCEEDED", result)


async def test_a_large_result_is_read_from_where_it_is(
    durable: Rig, store: Store, store_server: EmbeddedServer, tmp_path: Path
) -> None:
    results = {"url": tmp_path.as_uri(), "inline_bytes": 10}
    durable.configure(store=store_server.url, results=results)
    request_id = await durable.submit()
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    data = json.dumps("x" * 1000).encode()
    with durable.app._plane.open() as plane:
        kept = await plane.results.put(request_id, claim.attempt, data, "application/json")
    assert kept.data is None
    await store.requests.succeed(request_id, claim.attempt, kept)
    assert (await durable.ask("GET", f"/async_request/{request_id}"))[1]["result"] == "x" * 1000

    assert kept.reference is not None
    (tmp_path / kept.reference).unlink()
    status, body = await durable.ask("GET", f"/async_request/{request_id}")
    assert status == 503
    assert "The result of this request cannot be read" in body["error"]


async def test_a_request_that_failed_says_why(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    error = Error(ErrorCode.MODEL_PREDICT_ERROR, "it raised")
    await store.requests.put_back(request_id, claim.attempt, error, 0.0)
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    # What another attempt follows is nobody's business.
    assert (shown["status"], shown["attempts"], shown["errors"]) == ("QUEUED", 1, [])
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    await store.requests.fail(request_id, claim.attempt, error)
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert (shown["status"], shown["attempts"]) == ("FAILED", 2)
    assert shown["errors"] == [{"code": "MODEL_PREDICT_ERROR", "message": "it raised"}]


async def test_a_webhook_that_was_given_up_shows(
    durable: Rig, store: Store, store_server: EmbeddedServer
) -> None:
    durable.configure(store=store_server.url, webhooks={"allowed_networks": ["127.0.0.0/8"]})
    request_id = await durable.submit(webhook_endpoint="https://127.0.0.1/hook")
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert shown["webhook_status"] == "PENDING"
    await _run(store, b"1")
    (due,) = await store.deliveries.claim(TAG, 1, 30.0)
    await store.deliveries.give_up(request_id, due.attempt, Try(at=1.0, attempt=1), "gone")
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert (shown["status"], shown["webhook_status"]) == ("WEBHOOK_FAILED", "FAILED")
    assert shown["result"] == 1


# Where it is found


@pytest.mark.parametrize(
    "path",
    [
        "/models/echo/production",
        "/models/echo/environments/production",
        "/models/echo/deployment/v1",
        "/models/%65cho/production",
    ],
)
async def test_every_target_takes_it(durable: Rig, store: Store, path: str) -> None:
    request_id = await durable.submit(path)
    for prefix in ("", "/models/echo", path):
        status, shown = await durable.ask("GET", f"{prefix}/async_request/{request_id}")
        assert (status, shown["request_id"]) == (200, request_id)
    status, counted = await durable.ask("GET", f"{path}/async_queue_status")
    assert status == 200
    assert counted == {
        "model_id": "echo",
        "deployment_id": "v1",
        "num_queued_requests": 1,
        "num_in_progress_requests": 0,
    }
    await store.requests.claim(TAG, 1, 30.0)
    _, counted = await durable.ask("GET", f"{path}/async_queue_status")
    assert (counted["num_queued_requests"], counted["num_in_progress_requests"]) == (0, 1)


async def test_it_works_on_a_models_own_host(durable: Rig, store: Store) -> None:
    host = {"Host": "model-echo.example.org"}
    status, answer = await durable.ask("POST", "/production/async_predict", BODY, **host)
    assert status == 201
    path = f"/async_request/{answer['request_id']}"
    assert (await durable.ask("GET", path, **host))[0] == 200
    assert (await durable.ask("DELETE", path, **host))[0] == 200
    assert (await durable.ask("GET", path, Host="model-other.example.org"))[0] == 404


@pytest.mark.parametrize("request_id", [UNKNOWN, "nope", "%C3%BC", "A" * 32, "0" * 31, "0" * 5000])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_id_that_nobody_knows(
    durable: Rig, store: Store, method: str, request_id: str
) -> None:
    status, body = await durable.ask(method, f"/async_request/{request_id}")
    assert (status, body["error_code"]) == (404, "client_error")
    assert "no asynchronous request" in body["error"]
    assert len(body["error"]) < 200


async def test_a_request_of_another_model_is_not_found_here(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    models: Any = {"echo": {"production": {}, "staging": {}}, "other": {"production": {}}}
    durable.configure(models, store=_url(durable))
    for prefix, status in (
        ("/models/other", 404),
        ("/models/other/production", 404),
        ("/models/echo/environments/staging", 404),
        ("/models/nope", 404),
        ("/models/echo/production", 200),
    ):
        found = await durable.ask("GET", f"{prefix}/async_request/{request_id}")
        assert found[0] == status, prefix


def _url(rig: Rig) -> str:
    directory = rig.app._directory
    assert directory is not None
    return str(directory.table.store)


# What is refused


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "model_input"),
        ({"model_input": 1}, "model_input"),
        ({**BODY, "priority": 9}, "priority"),
        ({**BODY, "more": 1}, "more"),
        ({**BODY, "webhook_endpoint": "http://example.com/"}, "webhook_endpoint"),
        ({**BODY, "webhook_endpoint": "https://127.0.0.1/"}, "webhook_endpoint"),
        ({**BODY, "webhook_endpoint": "https://[::ffff:169.254.169.254]/"}, "webhook_endpoint"),
        ({**BODY, "webhook_endpoint": ""}, "webhook_endpoint"),
        (b"no json", "body"),
        (b"", "body"),
    ],
)
async def test_a_wrong_body_is_refused_by_field(
    durable: Rig, store: Store, body: Any, field: str
) -> None:
    status, answer = await durable.ask("POST", SUBMIT, body)
    assert (status, answer["error_code"], answer["detail"]) == (
        400,
        "client_error",
        {"field": field},
    )
    assert await store._connection.command("DBSIZE") == 0


async def test_parameters_are_refused_where_there_are_none(durable: Rig, store: Store) -> None:
    for method, path in (
        ("POST", SUBMIT),
        ("GET", f"{TARGET}/async_queue_status"),
        ("DELETE", f"/async_request/{await durable.submit()}"),
    ):
        status, answer = await durable.ask(method, f"{path}?wait=1", BODY)
        assert (status, answer["detail"]) == (400, {"field": "wait"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", SUBMIT, "POST"),
        ("POST", f"{TARGET}/async_queue_status", "GET, HEAD"),
        ("POST", f"{TARGET}/async_requests", "GET, HEAD"),
        ("POST", f"/async_request/{UNKNOWN}", "GET, HEAD, DELETE"),
        ("PUT", f"{TARGET}/async_request/{UNKNOWN}", "GET, HEAD, DELETE"),
    ],
)
async def test_other_methods(durable: Rig, method: str, path: str, allowed: str) -> None:
    async with durable.http.request(method, durable.url + path) as response:
        assert response.status == 405
        assert response.headers["allow"] == allowed


async def test_a_body_over_the_limit_is_refused_while_it_arrives(durable: Rig) -> None:
    settings = {"asynchronous": {"max_body_bytes": 1000}}
    durable.configure({"echo": {"production": settings}}, store=_url(durable))
    status, answer = await durable.ask("POST", SUBMIT, b"x" * 1001)
    assert (status, answer["detail"]) == (413, {"limit_bytes": 1000, "size_bytes": 1001})

    reader, writer = await durable.connect()
    writer.write(b"POST %b HTTP/1.1\r\nhost: a\r\n" % SUBMIT.encode())
    writer.write(b"transfer-encoding: chunked\r\n\r\n400\r\n%b\r\n" % (b"x" * 1024))  # never ended
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        ({"max_requests": 2}, "2 open requests"),
        ({"max_bytes": 40}, "40 bytes"),
        ({"max_requests_per_key": 2}, "2 open requests per API key"),
    ],
)
async def test_a_full_environment_says_so(
    durable: Rig, store: Store, settings: dict[str, Any], bound: str
) -> None:
    auth = {"keys": {"a": _key(), "b": _key()}}
    durable.configure(
        {"echo": {"production": {"asynchronous": settings}}}, store=_url(durable), auth=auth
    )
    for _ in range(2):
        assert (await durable.ask("POST", SUBMIT, BODY, key="a.s"))[0] == 201
    async with durable.http.post(
        durable.url + SUBMIT, json=BODY, headers={"Authorization": "Bearer a.s"}
    ) as response:
        assert response.status == 429
        assert int(response.headers["retry-after"]) >= 1
        answer = await response.json()
    assert answer["error_code"] == "rate_limited"
    assert bound in answer["detail"]["bound"]
    # The bound per key is each key's own; the others are everybody's.
    status, _ = await durable.ask("POST", SUBMIT, BODY, key="b.s")
    assert status == (201 if "max_requests_per_key" in settings else 429)
    await _run(store)
    assert (await durable.ask("POST", SUBMIT, BODY, key="a.s"))[0] == 201


def _key(**limits: Any) -> dict[str, Any]:
    digest = "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"  # of "s"
    return {"sha256": digest, "scopes": ["inference"], **limits}


async def test_how_far_a_key_reaches(durable: Rig, store: Store) -> None:
    models: Any = {"echo": {"production": {}, "staging": {}}, "other": {"production": {}}}
    keys = {
        "all": _key(),
        "echo": _key(models=["echo"]),
        "other": _key(models=["other"]),
        "staging": _key(environments=["staging"]),
        "manage": _key(scopes=["manage"]),
    }
    durable.configure(models, store=_url(durable), auth={"keys": keys})
    status, answer = await durable.ask("POST", SUBMIT, BODY, key="echo.s")
    assert status == 201
    shown = f"/async_request/{answer['request_id']}"
    for key, expected in (
        ("all", 200),
        ("echo", 200),
        ("other", 403),
        ("staging", 403),
        ("manage", 403),
    ):
        for path in (
            shown,
            f"/models/echo{shown}",
            f"{TARGET}{shown}",
            f"{TARGET}/async_queue_status",
            f"{TARGET}/async_requests",
        ):
            status, _ = await durable.ask("GET", path, key=f"{key}.s")
            # Without the model's name in the address, the request itself tells whose it is.
            assert status == expected, (key, path)
    for key in ("other", "staging", "manage"):
        assert (await durable.ask("DELETE", shown, key=f"{key}.s"))[0] == 403
        assert (await durable.ask("POST", SUBMIT, BODY, key=f"{key}.s"))[0] == 403
    assert (await durable.ask("GET", shown))[0] == 401
    assert (await durable.ask("GET", f"/async_request/{UNKNOWN}", key="other.s"))[0] == 404
    assert (await durable.ask("DELETE", shown, key="echo.s"))[1]["canceled"] is True


# Idempotency


async def test_the_same_key_fifty_times_at_once_is_one_request(durable: Rig, store: Store) -> None:
    answers = await asyncio.gather(
        *(durable.ask("POST", SUBMIT, BODY, Idempotency_Key="once") for _ in range(50))
    )
    assert {status for status, _ in answers} == {201}
    assert len({answer["request_id"] for _, answer in answers}) == 1
    assert (await store.requests.depth(TAG)).queued == 1


async def test_the_same_key_with_another_body_is_a_conflict(durable: Rig, store: Store) -> None:
    assert (await durable.ask("POST", SUBMIT, BODY, Idempotency_Key="k"))[0] == 201
    status, answer = await durable.ask("POST", SUBMIT, {"model_input": {}}, Idempotency_Key="k")
    assert (status, answer["error_code"]) == (409, "client_error")
    assert (await store.requests.depth(TAG)).queued == 1


async def test_the_same_key_still_finds_a_request_that_has_ended(
    durable: Rig, store: Store
) -> None:
    _, first = await durable.ask("POST", SUBMIT, BODY, Idempotency_Key="k")
    await _run(store)
    assert await durable.ask("POST", SUBMIT, BODY, Idempotency_Key="k") == (201, first)


async def test_an_idempotency_key_belongs_to_its_api_key_and_environment(
    durable: Rig, store: Store
) -> None:
    models: Any = {"echo": {"production": {}, "staging": {}}}
    durable.configure(models, store=_url(durable), auth={"keys": {"a": _key(), "b": _key()}})
    found = {
        (await durable.ask("POST", path, BODY, key=key, Idempotency_Key="k"))[1]["request_id"]
        for key in ("a.s", "b.s")
        for path in (SUBMIT, "/models/echo/environments/staging/async_predict")
    }
    assert len(found) == 4


@pytest.mark.parametrize("value", ["a b", "x" * 256])
async def test_an_idempotency_key_that_is_none(durable: Rig, value: str) -> None:
    status, answer = await durable.ask("POST", SUBMIT, BODY, Idempotency_Key=value)
    assert (status, answer["detail"]) == (400, {"field": "Idempotency-Key"})


# Canceling


async def test_a_queued_request_is_canceled_once(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    status, answer = await durable.ask("DELETE", f"/async_request/{request_id}")
    assert status == 200
    assert (answer["request_id"], answer["canceled"]) == (request_id, True)
    assert answer["message"]
    assert await store.requests.claim(TAG, 1, 30.0) == []
    _, shown = await durable.ask("GET", f"/async_request/{request_id}")
    assert shown["status"] == "CANCELED"
    status, answer = await durable.ask("DELETE", f"/async_request/{request_id}")
    assert (status, answer["canceled"]) == (200, False)
    assert "CANCELED" in answer["message"]


async def test_a_running_request_is_canceled_and_its_dispatcher_told(
    durable: Rig, store: Store
) -> None:
    heard = asyncio.Event()
    request_id = await durable.submit()

    def hear(event: Any) -> None:
        if (event.kind, event.request_id) == ("canceled", request_id):
            heard.set()

    store.news.subscribe(TAG, hear)
    await store.news.ready(TAG)
    (claim,) = await store.requests.claim(TAG, 1, 30.0)
    assert (await durable.ask("DELETE", f"/async_request/{request_id}"))[1]["canceled"] is True
    await heard.wait()
    late = Result("application/json", 1, b"1")
    assert not await store.requests.succeed(request_id, claim.attempt, late)


# Lists


async def test_lists_are_paged_newest_first(durable: Rig, store: Store) -> None:
    made = [await durable.submit() for _ in range(7)]
    listed: list[str] = []
    cursor = ""
    for size in (3, 3, 1):
        path = f"{TARGET}/async_requests?limit=3{cursor}"
        status, page = await durable.ask("GET", path)
        assert status == 200
        assert len(page["async_requests"]) == size
        listed += [each["request_id"] for each in page["async_requests"]]
        cursor = f"&cursor={page['cursor']}"
    assert page["cursor"] is None
    assert listed == made[::-1]
    assert "result" not in page["async_requests"][0]


async def test_lists_by_status(durable: Rig, store: Store) -> None:
    made = [await durable.submit() for _ in range(3)]
    done = await _run(store)
    for status, expected in (
        ("SUCCEEDED", [done]),
        ("QUEUED", [each for each in reversed(made) if each != done]),
        ("CANCELED", []),
    ):
        _, page = await durable.ask("GET", f"{TARGET}/async_requests?status={status}")
        assert [each["request_id"] for each in page["async_requests"]] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=DONE", "status"),
        ("status=queued", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=5", "cursor"),
        (f"cursor={tag_of('echo', 'staging')}.5", "cursor"),
        (f"cursor={TAG}.x", "cursor"),
        ("page=2", "page"),
    ],
)
async def test_a_list_refuses_what_it_does_not_know(
    durable: Rig, store: Store, query: str, field: str
) -> None:
    status, answer = await durable.ask("GET", f"{TARGET}/async_requests?{query}")
    assert (status, answer["detail"]) == (400, {"field": field})


async def test_head_gets_the_head(durable: Rig, store: Store) -> None:
    request_id = await durable.submit()
    for path in (f"/async_request/{request_id}", f"{TARGET}/async_requests"):
        async with durable.http.head(durable.url + path) as response:
            assert response.status == 200
            assert int(response.headers["content-length"]) > 10
