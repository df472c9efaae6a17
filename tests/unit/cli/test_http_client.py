"""The client of the commands, against a server that answers as the router does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.http_client import CallError, ClusterClient

Start = Callable[[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    servers: list[TestServer] = []

    async def start_(
        method: str, path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> str:
        application = web.Application()
        application.router.add_route(method, path, handler)
        server = TestServer(application)
        await server.start_server()
        servers.append(server)
        return str(server.make_url(""))

    yield start_
    for server in servers:
        await server.close()


async def test_a_prediction_carries_key_body_and_times(start: Start) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer k.secret"
        assert await request.json() == {"a": 1}
        headers = {
            "X-Queue-Wait-Ms": "1500",
            "X-Cold-Start": "true",
            "X-Baseten-Model-Prediction-Attempts": "2",
        }
        return web.json_response([2], headers=headers)

    url = await start("POST", "/models/m/production/predict", handler)
    async with ClusterClient(url, "k.secret") as client:
        answer = await client.predict("m", "production", {"a": 1})
    assert (answer.status, answer.body) == (200, b"[2]")
    assert (answer.waited_seconds, answer.cold_start, answer.attempts) == (1.5, True, 2)
    assert 0 < answer.first_chunk_seconds <= answer.seconds


async def test_an_environment_of_ones_own_has_a_path_of_its_own(start: Start) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=202)

    url = await start("POST", "/models/m/environments/canary/wake", handler)
    async with ClusterClient(url, None) as client:
        await client.wake("m", "canary")


async def test_environments_are_those_the_key_may_see_and_say_what_is_wrong(start: Start) -> None:
    async def handler(request: web.Request) -> web.Response:
        match request.path.removeprefix("/api/v1/models").split("/")[1:]:
            case []:
                named = [{"name": name} for name in ("hidden", "mute", "production")]
                return web.json_response({"models": [{"name": "m", "environments": named}]})
            case ["m", "environments", "hidden"]:
                return web.json_response({"error": "not for you"}, status=403)
            case ["m", "environments", "mute"]:
                return web.json_response({"error": "its queue does not answer"}, status=503)
        return web.json_response({"name": "production", "model": "m", "status": "ACTIVE"})

    url = await start("GET", "/api/v1/{any:.*}", handler)
    async with ClusterClient(url, None) as client:
        mute, production = await client.environments()
    assert (mute["name"], mute["status"]) == ("mute", "UNHEALTHY")
    assert mute["live"]["reason"] == "503: its queue does not answer"
    assert production["status"] == "ACTIVE"


async def test_chunks_arrive_one_by_one(start: Start) -> None:
    seen = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await seen.wait()  # the second is only sent when the first has come through
        await response.write(b"two")
        return response

    chunks: list[bytes] = []

    def on_chunk(chunk: bytes) -> None:
        chunks.append(chunk)
        seen.set()

    url = await start("POST", "/models/m/production/predict", handler)
    async with ClusterClient(url, None) as client:
        answer = await client.predict("m", "production", {}, on_chunk=on_chunk)
    assert chunks == [b"one", b"two"]
    assert len(answer.gaps_seconds) == 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"error": "queue is full", "error_code": "rate_limited"}, "429: queue is full"),
        ({"error": {"message": "queue is full"}}, "429: queue is full"),
        (["no", "object"], '429: ["no", "object"]'),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(
    start: Start, body: Any, sentence: str
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=429)

    url = await start("POST", "/models/m/production/predict", handler)
    async with ClusterClient(url, None) as client:
        with pytest.raises(CallError) as caught:
            await client.predict("m", "production", {})
    assert str(caught.value) == sentence
    assert caught.value.status == 429


async def test_a_stream_that_breaks_off_is_an_error(start: Start) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    url = await start("POST", "/models/m/production/predict", handler)
    async with ClusterClient(url, None) as client:
        with pytest.raises(CallError, match="broke off"):
            await client.predict("m", "production", {})


async def test_a_cluster_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with ClusterClient(url, None) as client:
        with pytest.raises(CallError, match=f"cannot reach {url}") as caught:
            await client.environment("m", "production")
    assert caught.value.status is None
