"""A request's way through: what reaches the replica, what comes back."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.unit.router.harness import read_body, respond, table

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


class Recorder:
    """A replica that notes what it is asked, and answers as it is told."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.bodies.append(await read_body(receive))
        await respond(send, **self.answer)

    def headers(self) -> dict[str, str]:
        return {
            name.decode(): value.decode("latin-1") for name, value in self.scopes[-1]["headers"]
        }


async def test_the_answer_passes_unchanged(rig: Rig) -> None:
    replica = Recorder(
        status=418,
        body=b'{"tea": true}',
        headers=[(b"content-type", b"application/x-tea"), (b"x-pot", b"1"), (b"x-pot", b"2")],
    )
    await rig.replica(replica)
    async with rig.http.post(rig.predict, data=b'{"x": 1}') as response:
        assert response.status == 418
        assert await response.read() == b'{"tea": true}'
        assert response.headers["content-type"] == "application/x-tea"
        assert response.headers.getall("x-pot") == ["1", "2"]
        assert response.headers["x-baseten-model-prediction-attempts"] == "1"
        assert response.headers["x-queue-wait-ms"] == "0"
        assert "x-cold-start" not in response.headers
        assert len(response.headers.getall("date")) == 1
        assert len(response.headers.getall("server")) == 1
    assert replica.bodies == [b'{"x": 1}']
    assert replica.scopes[0]["raw_path"] == b"/predict"
    assert rig.echo.released == [("r1", False)]


async def test_a_new_id_is_made_and_told_to_both_sides(rig: Rig) -> None:
    replica = Recorder()
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        identity = response.headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", identity)
        assert response.headers["x-baseten-request-id"] == identity
    assert replica.headers()["x-request-id"] == identity
    assert replica.headers()["x-baseten-request-id"] == identity


@pytest.mark.parametrize("header", ["x-request-id", "x-baseten-request-id"])
async def test_a_given_id_is_kept(rig: Rig, header: str) -> None:
    await rig.replica(Recorder())
    async with rig.http.post(rig.predict, headers={header: "order-66/a"}) as response:
        assert response.headers["x-request-id"] == "order-66/a"
        assert response.headers["x-baseten-request-id"] == "order-66/a"


@pytest.mark.parametrize("given", ["with space", 'quote"d', "x" * 129, "<script>"])
async def test_an_id_that_is_not_sane_is_replaced(rig: Rig, given: str) -> None:
    await rig.replica(Recorder())
    async with rig.http.post(rig.predict, headers={"x-request-id": given}) as response:
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_headers_pass_except_hop_by_hop_and_credentials(rig: Rig) -> None:
    replica = Recorder()
    address = await rig.replica(replica)
    await _post(
        rig,
        {
            "Authorization": "Bearer secret.key",
            "X-Api-Key": "secret",
            "Connection": "keep-alive, X-Private",
            "X-Private": "for the router alone",
            "Keep-Alive": "timeout=5",
            "TE": "trailers",
            "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "Tracestate": "a=b",
            "X-Custom": "gr\u00fc\u00df",
            "Cookie": "a=b",
            "X-Forwarded-For": "10.0.0.1",
        },
    )
    headers = replica.headers()
    assert headers["traceparent"].startswith("00-0af76519")
    assert headers["tracestate"] == "a=b"
    assert headers["x-custom"].encode("latin-1").decode("utf-8") == "gr\u00fc\u00df"
    assert headers["cookie"] == "a=b"
    assert headers["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == rig.url.removeprefix("http://")
    assert headers["host"] == address.removeprefix("http://")
    assert 0 < int(headers["request-timeout-ms"]) <= 1_200_000
    for gone in ("authorization", "x-api-key", "x-private", "keep-alive", "te", "connection"):
        assert gone not in headers


async def _post(rig: Rig, headers: dict[str, str]) -> None:
    async with rig.http.post(rig.predict, headers=headers, data=b"{}") as response:
        assert response.status == 200


async def test_a_header_that_is_not_utf8_reaches_the_replica_as_it_is(rig: Rig) -> None:
    replica = Recorder()
    await rig.replica(replica)
    reader, writer = await rig.connect()
    writer.write(
        b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\nx-odd: \xff\xfe\r\n"
        b"content-length: 0\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert (b"x-odd", b"\xff\xfe") in replica.scopes[0]["headers"]


@pytest.mark.parametrize(
    ("asked", "path", "query"),
    [
        ("/models/echo/production/sync/v1/chat?a=%20b&c", b"/v1/chat", b"a=%20b&c"),
        ("/models/echo/production/sync/a%2Fb/../c", b"/a%2Fb/../c", b""),
        ("/models/echo/production/sync/", b"/", b""),
        ("/models/echo/production/sync", b"/", b""),
        ("/models/echo/environments/production/sync//x", b"//x", b""),
        ("/models/echo/deployment/v1/predict?q=1", b"/predict", b"q=1"),
        ("/models/echo/environments/production/predict", b"/predict", b""),
    ],
)
async def test_paths_and_queries_reach_the_replica_raw(
    rig: Rig, asked: str, path: bytes, query: bytes
) -> None:
    replica = Recorder()
    await rig.replica(replica)
    reader, writer = await rig.connect()
    writer.write(b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n" % asked.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert replica.scopes[0]["raw_path"] == path
    assert replica.scopes[0]["query_string"] == query


async def test_host_mounted_addresses(rig: Rig) -> None:
    await rig.replica(Recorder())
    headers = {"Host": "model-echo.models.example.org:8443"}
    async with rig.http.post(f"{rig.url}/production/predict", headers=headers) as response:
        assert response.status == 200
    headers = {"Host": "model-nope.example.org"}
    async with rig.http.post(f"{rig.url}/production/predict", headers=headers) as response:
        assert response.status == 404
        assert (await response.json())["detail"] == {"name": "nope", "known": ["echo"]}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"])
async def test_any_method_goes_to_the_replicas_own_server(rig: Rig, method: str) -> None:
    replica = Recorder(body=b"0123456789")
    await rig.replica(replica)
    for _ in range(2):  # over a connection that is new, then one that is kept
        async with rig.http.request(method, f"{rig.url}/models/echo/production/sync/x") as response:
            assert response.status == 200
            assert response.headers["content-length"] == "10"
            assert await response.read() == (b"" if method == "HEAD" else b"0123456789")
    assert [scope["method"] for scope in replica.scopes] == [method, method]


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(rig: Rig, status: int) -> None:
    async def replica(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await rig.replica(replica)
    for _ in range(2):
        async with rig.http.get(f"{rig.url}/models/echo/production/sync/x") as response:
            assert response.status == status
            assert await response.read() == b""


async def test_redirects_and_compressed_bodies_are_not_touched(rig: Rig) -> None:
    replica = Recorder(
        status=307,
        body=b"\x1f\x8bnot really gzip",
        headers=[(b"location", b"/elsewhere"), (b"content-encoding", b"gzip")],
    )
    await rig.replica(replica)
    url = f"{rig.url}/models/echo/production/sync/x"
    async with rig.http.get(url, allow_redirects=False, auto_decompress=False) as response:
        assert response.status == 307
        assert response.headers["location"] == "/elsewhere"
        assert await response.read() == b"\x1f\x8bnot really gzip"


async def test_large_bodies_both_ways(rig: Rig) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, body=await read_body(receive))

    await rig.replica(echo)
    body = bytes(range(256)) * 4096 * 8  # 8 MiB
    async with rig.http.post(rig.predict, data=_pieces(body)) as response:
        assert await response.read() == body


async def _pieces(body: bytes) -> Any:
    for at in range(0, len(body), 100_000):
        yield body[at : at + 100_000]


async def test_a_parked_request_is_told_how_long_and_that_it_was_cold(rig: Rig) -> None:
    request = rig.http.post(rig.predict)
    replica = Recorder()

    async def come() -> None:
        await rig.echo.until(lambda: rig.echo.waiters == 1)
        await rig.replica(replica)

    _, response = await asyncio.gather(come(), request)
    async with response:
        assert response.status == 200
        assert response.headers["x-cold-start"] == "true"
        assert int(response.headers["x-queue-wait-ms"]) >= 0


async def test_wake(rig: Rig) -> None:
    async with rig.http.post(f"{rig.url}/models/echo/production/wake") as response:
        assert response.status == 202
        assert await response.read() == b""
    assert rig.echo.woken == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/models/echo/production/predict", 405, "client_error"),
        ("GET", "/models/echo/production/wake", 405, "client_error"),
        ("TRACE", "/models/echo/production/sync/x", 405, "client_error"),
        ("POST", "/models/nope/production/predict", 404, "model_does_not_exist"),
        ("POST", "/models/echo/development/predict", 404, "model_does_not_exist"),
        ("POST", "/models/echo/environments/nope/predict", 404, "model_does_not_exist"),
        ("POST", "/models/echo/deployment/nope/predict", 404, "model_does_not_exist"),
        ("GET", "/models/echo/production/async_predict", 405, "client_error"),
        ("POST", "/models/echo/async_predict", 404, "client_error"),
        ("POST", "/async_request/0123", 405, "client_error"),
        ("GET", "/async_request/", 404, "client_error"),
        ("GET", "/models/nope/async_request/0123", 404, "model_does_not_exist"),
        ("POST", "/models/echo/production", 404, "client_error"),
        ("GET", "/nowhere", 404, "client_error"),
    ],
)
async def test_what_is_not_there_says_so(
    rig: Rig, method: str, path: str, status: int, code: str
) -> None:
    async with rig.http.request(method, rig.url + path) as response:
        body = await response.json()
        assert response.status == status
        assert body["error_code"] == code
        assert body["request_id"] == response.headers["x-request-id"]
        assert response.headers["x-baseten-model-prediction-attempts"] == "0"
        assert set(body) == {"error", "error_code", "detail", "request_id"}
        if status == 405:
            assert response.headers["allow"]


async def test_an_unforeseen_error_is_a_500_that_tells_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.echo.refusal = RuntimeError("secret detail")
    async with rig.http.post(rig.predict) as response:
        body = await response.json()
        assert response.status == 500
        assert body["error_code"] == "internal_error"
        assert "secret" not in body["error"]
    assert "secret detail" in caplog.text


async def test_websockets_are_refused_before_they_begin(rig: Rig) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await rig.http.ws_connect(f"{rig.url}/models/echo/production/websocket")
    assert refused.value.status in (403, 404)


async def test_two_environments_have_their_own_slots(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {}, "development": {"deployment": "v2"}}}))
    first, second = Recorder(body=b'"v1"'), Recorder(body=b'"v2"')
    await rig.replica(first)
    await rig.replica(second, application="echo.development")
    for path, said in (
        ("production", "v1"),
        ("development", "v2"),
        ("environments/development", "v2"),
        ("deployment/v2", "v2"),
    ):
        async with rig.http.post(f"{rig.url}/models/echo/{path}/predict") as response:
            assert await response.json() == said
