"""What operators see of the system as a whole: metrics, environments, requests, logs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.observatory import reporter, sources
from orchestrator.observatory.hub import ObservatoryHub
from orchestrator.observatory.protocol import (
    Found,
    Live,
    LogsAsked,
    ObservatoryUnavailable,
    Overview,
    Part,
    Source,
)
from orchestrator.observatory.reporter import Reporter
from orchestrator.router import events, feed, insight, streaming
from orchestrator.router.auth import UNLIMITED
from orchestrator.store.records import Result, Try
from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.logs import LogRing
from orchestrator.telemetry.timeline import Attempt, Run, Timeline, Wait
from tests.unit.router.harness import respond, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

API = "/api/v1"
MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "echo": {"production": {}, "staging": {}},
    "other": {"production": {}},
}
ROW = {"status": "ACTIVE", "deployment": "v1", "replicas": [{"stage": "READY"}], "slots": 2}


def _key(*scopes: str, **limits: Any) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(b"s").hexdigest(), "scopes": list(scopes), **limits}


KEYS = {
    "all": _key("manage", "inference"),
    "run": _key("inference"),
    "echo": _key("manage", models=["echo"]),
}


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run until it holds; the test's own deadline ends it."""
    while not holds():  # noqa: ASYNC110 - what it waits for happens in the router
        await asyncio.sleep(0.001)


SETTINGS: dict[str, Any] = {
    "auth": {"keys": KEYS},
    "webhooks": {"allowed_networks": ["127.0.0.0/8"]},
}


class Watched:
    """A router with an observatory, and the queues and replicas that tell it something.

    Attributes:
        away: whether the observatory does not answer routers.
        overviews: how often it was asked for one.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.hub = ObservatoryHub("9.9")
        self.away = False
        self.overviews = 0
        self.reporters: list[Reporter] = []
        self.states: dict[tuple[str, str], dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        """The hub, as the router's way to it."""
        if self.away and name not in ("push", "watch", "answer"):
            raise ObservatoryUnavailable("away")
        return getattr(self.hub, name)

    async def overview(self, since: int) -> Overview:
        self.overviews += 1
        if self.away:
            raise ObservatoryUnavailable("away")
        return await self.hub.overview(since)

    def report(
        self,
        source: Source,
        answers: dict[str, Callable[[bytes], Awaitable[bytes]]] | None = None,
        state: Callable[[], dict[str, bytes]] | None = None,
    ) -> None:
        made = Reporter(self.hub, source, Registry(), answers=answers, state=state)
        made.start()
        self.reporters.append(made)

    async def queue(self, model: str, environment: str = "production", **sections: Any) -> None:
        """A queue that tells; `live` is a good one's, unless it is given."""
        state = self.states.setdefault((model, environment), {"live": ROW})
        new = not state.get("told")
        state.update(sections, told=True)
        if new:
            names = ("live", "decisions", "starts")
            self.report(
                Source(f"queue {model}/{environment}", Part.QUEUE, model, environment),
                state=lambda: {n: msgspec.msgpack.encode(state[n]) for n in names if n in state},
            )
        wanted = msgspec.msgpack.encode(state["live"])
        told = self.hub._environments.state
        await until(lambda: told(model, environment).get("live") == wanted)

    async def get(self, path: str, key: str = "all", status: int = 200) -> Any:
        found, answer = await self.rig.ask("GET", path, key=f"{key}.s" if key else "")
        assert found == status, answer
        return answer

    async def sources(self, count: int) -> None:
        await until(lambda: len(self.hub._sources) >= count)


@pytest.fixture
async def watched(
    rig: Rig, store: Store, store_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    monkeypatch.setattr(sources, "SHORTEST_PAUSE_S", 0.001)
    monkeypatch.setattr(feed, "POLL_S", 0.02)
    monkeypatch.setattr(events, "POLL_S", 0.02)
    monkeypatch.setattr(reporter, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr("orchestrator.observatory.hub.ANSWER_S", 20)
    watched = Watched(rig)
    rig.app._make_observatory = lambda: watched
    rig.app.configure(table(MODELS, store=store_server.url, **SETTINGS))
    await watched.sources(1)
    yield watched
    for each in watched.reporters:
        await each.close()
    await rig.app.close()
    await watched.hub.close()


# Who may see it


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        f"{API}/overview",
        f"{API}/events",
        f"{API}/requests",
        f"{API}/requests/abc/timeline",
        f"{API}/models/echo/environments/production/history",
        f"{API}/models/echo/environments/production/logs",
    ],
)
async def test_a_key_with_the_scope_manage_is_needed(watched: Watched, path: str):
    await watched.get(path, key="", status=401)
    await watched.get(path, key="run", status=403)


async def test_the_console_needs_no_key_and_what_is_below_is_its_files(watched: Watched):
    async with watched.rig.http.get(f"{watched.rig.url}/console") as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in response.headers["content-security-policy"]
        tag = response.headers["etag"]
    same = {"If-None-Match": tag}
    async with watched.rig.http.get(f"{watched.rig.url}/console", headers=same) as response:
        assert response.status == 304
    await watched.get("/console/no-such-file", status=404)


async def test_without_an_observatory_its_addresses_say_so(watched: Watched):
    watched.away = True
    for path in (
        "/metrics",
        f"{API}/overview",
        f"{API}/events",
        f"{API}/requests",
        f"{API}/requests/abc/timeline",
        f"{API}/models/echo/environments/production/history",
        f"{API}/models/echo/environments/production/logs",
    ):
        url = watched.rig.url + path
        headers = {"Authorization": "Bearer all.s"}
        async with watched.rig.http.get(url, headers=headers) as response:
            assert response.status == 503, path
            assert response.headers["retry-after"] == "2"
            assert "observatory" in (await response.json())["error"]


# Metrics


async def test_metrics_of_the_whole_system(watched: Watched):
    await watched.rig.replica(_answers)
    await watched.get("/models/echo/production/predict", status=405)
    await watched.rig.ask("POST", "/models/echo/production/predict", {}, key="all.s")
    while True:
        headers = {"Authorization": "Bearer all.s"}
        watched.hub._exposed.clear()
        async with watched.rig.http.get(f"{watched.rig.url}/metrics", headers=headers) as response:
            assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = await response.text()
        if 'outcome="answered"' in text and "orchestrator_requests_total" in text:
            break
    families = {each.name: each for each in text_string_to_metric_families(text)}
    samples = {
        tuple(sample.labels[name] for name in metrics.REQUESTS.labels): sample.value
        for sample in families["orchestrator_requests"].samples
    }
    assert samples["echo", "production", "answered"] == 1
    headers["Accept"] = "application/openmetrics-text;version=1.0.0"
    async with watched.rig.http.get(f"{watched.rig.url}/metrics", headers=headers) as response:
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        text = await response.text()
        assert list(parse_openmetrics(text))  # type: ignore[no-untyped-call]


async def test_metrics_name_all_models_and_so_need_a_key_that_reaches_them(watched: Watched):
    await watched.get("/metrics", key="echo", status=403)


# Environments


async def test_the_overview_has_what_a_key_reaches(watched: Watched):
    await watched.queue("echo")
    await watched.queue("other")
    found = await watched.get(f"{API}/overview")
    assert found["full"]
    assert {(r["model"], r["environment"], r["status"]) for r in found["environments"]} == {
        ("echo", "production", "ACTIVE"),
        ("echo", "staging", "UNKNOWN"),  # nobody has told anything of it
        ("other", "production", "ACTIVE"),
    }
    found = await watched.get(f"{API}/overview", key="echo")
    assert {row["model"] for row in found["environments"]} == {"echo"}


async def test_the_overview_since_a_version_has_what_changed(watched: Watched):
    await watched.queue("echo")
    await watched.queue("other")
    first = await watched.get(f"{API}/overview")
    await asyncio.sleep(0.02)
    await watched.queue("echo", live={**ROW, "in_use": 1})
    second = await watched.get(f"{API}/overview?since={first['version']}")
    assert not second["full"]
    assert [(row["model"], row["in_flight"]) for row in second["environments"]] == [("echo", 1)]
    watched.rig.app.configure(table({"echo": MODELS["echo"]}, auth={"keys": KEYS}))
    await asyncio.sleep(0.02)
    third = await watched.get(f"{API}/overview?since={second['version']}")
    assert (third["gone"], third["environments"]) == ([], [])  # its version is not told on
    fourth = await watched.get(f"{API}/overview")
    assert {row["model"] for row in fourth["environments"]} == {"echo"}
    await watched.get(f"{API}/overview?since=abc", status=400)


async def test_one_question_serves_many_callers(watched: Watched, monkeypatch):
    monkeypatch.setattr(feed, "POLL_S", 60)
    await watched.queue("echo")
    await asyncio.gather(*(watched.get(f"{API}/overview") for _ in range(10)))
    assert watched.overviews == 1


async def test_the_history_of_an_environment(watched: Watched):
    await watched.queue("echo", decisions=[{"at": 1.0, "desired": 1, "reason": "load"}])
    path = f"{API}/models/echo/environments/production/history"
    found = await watched.get(f"{path}?minutes=2")
    assert found["step_s"] == 5
    assert {len(points) for points in found["series"].values()} == {24}
    assert found["replicas"] == [{"stage": "READY"}]
    await watched.get(f"{path}?minutes=16", status=400)
    await watched.get(f"{API}/models/other/environments/production/history", "echo", 403)
    await watched.get(f"{API}/models/echo/environments/none/history", status=404)
    # Configured, and silent so far.
    silent = await watched.get(f"{API}/models/other/environments/production/history")
    assert not any(silent["series"]["requests"])


# Events


class Reader:
    """A caller that reads a stream of events, or does not."""

    def __init__(self, watched: Watched, key: str = "all") -> None:
        self.watched = watched
        self.key = key

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await self.watched.rig.connect()
        self.writer.write(
            f"GET {API}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}.s\r\n\r\n".encode()
        )
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def overview(self) -> dict[str, Any]:
        while True:
            line = await self.reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found


async def test_events_tell_all_at_first_and_then_what_changes(watched: Watched):
    await watched.queue("echo")
    await watched.queue("other")
    async with Reader(watched) as one, Reader(watched, "echo") as two:
        assert b"text/event-stream" in one.head
        first = await one.overview()
        assert first["full"]
        assert len(first["environments"]) == 3
        assert {row["model"] for row in (await two.overview())["environments"]} == {"echo"}
        await watched.queue("other", live={**ROW, "in_use": 1})
        second = await one.overview()
        assert not second["full"]
        assert [row["model"] for row in second["environments"]] == ["other"]
        await watched.queue("echo", live={**ROW, "in_use": 1})
        assert [row["model"] for row in (await two.overview())["environments"]] == ["echo"]


async def test_an_environment_that_is_configured_no_more_is_gone(watched: Watched):
    await watched.queue("echo")
    await watched.queue("other")
    async with Reader(watched) as reader:
        await reader.overview()
        watched.rig.app.configure(table({"echo": MODELS["echo"]}, auth={"keys": KEYS}))
        while True:
            found = await reader.overview()
            if found["gone"]:
                break
        assert found["gone"] == ["other/production"]


async def test_a_stream_goes_on_while_the_observatory_is_away(watched: Watched):
    await watched.queue("echo")
    async with Reader(watched) as reader:
        await reader.overview()
        watched.away = True
        line = b""
        while b"observatory" not in line:
            line = await reader.reader.readline()
        watched.away = False
        await watched.queue("echo", live={**ROW, "in_use": 3})
        found = await reader.overview()
        assert [row["in_flight"] for row in found["environments"]] == [3]


async def test_many_readers_cost_one_question_at_a_time(watched: Watched, monkeypatch):
    monkeypatch.setattr(feed, "POLL_S", 60)
    await watched.queue("echo")
    async with Reader(watched) as one, Reader(watched) as two, Reader(watched) as three:
        for each in (one, two, three):
            await each.overview()
    assert watched.overviews == 1


async def test_there_is_room_for_so_many_readers_and_no_more(watched: Watched, monkeypatch):
    monkeypatch.setattr(events, "MOST", 2)
    async with Reader(watched) as one, Reader(watched) as two:
        await one.overview()
        await two.overview()
        answer = await watched.get(f"{API}/events", status=429)
        assert "2 streams" in answer["error"]
        one.writer.close()
        await until(lambda: watched.rig.app._management._insight._events._open == 1)
        async with Reader(watched) as another:
            await another.overview()


async def test_a_stream_that_nobody_begins_to_read_takes_no_room(watched: Watched):
    app = watched.rig.app
    streams = app._management._insight._events
    assert app._directory is not None
    opened = await streams.open(app._directory, UNLIMITED)
    await opened.aclose()
    assert streams._open == 0


async def test_a_reader_that_stops_reading_is_cut(watched: Watched, monkeypatch):
    monkeypatch.setattr(streaming, "STALLED_S", 0.2)
    await watched.queue("echo")
    held = watched.rig.app._management._insight._events
    sent = 0

    async def endless(*_: object) -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 100_000
            await asyncio.sleep(0)

    monkeypatch.setattr(held, "_stream", endless)
    async with Reader(watched):
        await until(lambda: held._open == 0)
        told = sent
        await asyncio.sleep(0.05)
        assert sent == told, "nothing more is made for it"
    # What one connection's buffers hold, and one update; the caller's own has the most.
    assert sent < 200


async def test_streams_end_with_the_router(watched: Watched):
    await watched.queue("echo")
    async with Reader(watched) as reader:
        await reader.overview()
        await watched.rig.app.close()
        await reader.reader.read()


# Requests


async def _answers(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, 200)


def timeline(number: int, **fields: Any) -> Timeline:
    fields = {"model": "echo", "environment": "production", "kind": "call", **fields}
    return Timeline(
        request_id=f"r{number}",
        span_id=f"{number:016x}",
        trace_id=f"{number:032x}",
        began=fields.pop("began", time.time() - 1000 + number),
        seconds=0.5,
        outcome=fields.pop("outcome", "answered"),
        status=fields.pop("status", 200),
        **fields,
    )


async def test_requests_of_routers_and_of_the_store_come_merged(watched: Watched, store: Store):
    await watched.rig.replica(_answers)
    headers = {"x-request-id": "mine", "Authorization": "Bearer all.s"}
    async with watched.rig.http.post(watched.rig.predict, headers=headers) as response:
        assert response.status == 200
    await store.timelines.add([timeline(1), timeline(2, outcome="failed_timeout", status=504)])
    found = await watched.get(f"{API}/requests")
    assert [each["request_id"] for each in found["requests"]] == ["mine", "r2", "r1"]
    assert (found["routers"], found["missing"]) == (1, 0)
    mine = found["requests"][0]
    assert mine["attempts"] == 1
    assert mine["waited_s"] >= 0
    assert "waits" not in mine

    async def ids(query: str) -> list[str]:
        answer = await watched.get(f"{API}/requests?{query}")
        return [each["request_id"] for each in answer["requests"]]

    assert await ids("errors") == ["r2"]
    assert await ids("errors=true&since=10m") == []
    assert await ids("since=1h&limit=2") == ["mine", "r2"]
    assert await ids("outcome=failed_timeout") == ["r2"]
    assert await ids("slow_ms=400") == ["r2", "r1"]
    assert await ids("model=other") == []
    assert await ids("model=echo&environment=production&limit=1") == ["mine"]


async def test_a_request_that_a_router_holds_and_the_store_keeps_is_there_once(
    watched: Watched, store: Store
):
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, 200)

    await watched.rig.replica(broken)
    headers = {"x-request-id": "twice", "Authorization": "Bearer all.s"}
    async with watched.rig.http.post(watched.rig.predict, headers=headers):
        pass
    found = await watched.hub.request("twice")
    await store.timelines.add(found.found.ended)
    listed = await watched.get(f"{API}/requests")
    assert [each["request_id"] for each in listed["requests"]] == ["twice"]
    assert (await watched.get(f"{API}/requests/twice/timeline"))["others"] == 0


async def test_requests_of_what_a_key_does_not_reach_are_not_told(watched: Watched, store: Store):
    await store.timelines.add([timeline(1), timeline(2, model="other"), timeline(3, model="")])
    found = await watched.get(f"{API}/requests", key="echo")
    assert [each["request_id"] for each in found["requests"]] == ["r1"]
    await watched.get(f"{API}/requests?model=other", key="echo", status=403)
    await watched.get(f"{API}/requests/r2/timeline", key="echo", status=404)
    assert (await watched.get(f"{API}/requests/r2/timeline"))["request_id"] == "r2"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=99999d", "since"),
        ("errors=maybe", "errors"),
        ("slow_ms=-1", "slow_ms"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("outcome=lost", "outcome"),
        ("colour=red", "colour"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named(watched: Watched, query: str, field: str):
    answer = await watched.get(f"{API}/requests?{query}", status=400)
    assert answer["detail"]["field"] == field


async def test_the_timeline_of_a_request_that_has_ended(watched: Watched, store: Store):
    kept = timeline(
        7,
        cold_start=True,
        waits=[Wait("no_replica", 0.0, 0.4, "a" * 16, "r1", cold=True)],
        attempts=[Attempt(1, "r1", "http://x", 0.4, "b" * 16, seconds=0.1, status=200)],
    )
    await store.timelines.add([kept])
    start = {"replica": "r1", "at": kept.began + 0.4, "seconds": 0.4, "result": "ready"}
    await watched.queue("echo", starts=[{**start, "stages": {"LOADING": 0.4}, "reason": ""}])
    found = await watched.get(f"{API}/requests/r7/timeline")
    assert found["state"] == "ended"
    assert "LOADING" in [bar["name"] for bar in found["bars"]]
    assert found["raw"]["timeline"]["request_id"] == "r7"


async def test_a_start_that_is_told_only_after_the_request_has_ended_is_waited_for(
    watched: Watched, store: Store
):
    wait = Wait("no_replica", 0.0, 0.4, "a" * 16, "r1", cold=True)
    await store.timelines.add([timeline(7, began=time.time(), cold_start=True, waits=[wait])])
    await watched.queue("echo", starts=[])
    asked = asyncio.create_task(watched.get(f"{API}/requests/r7/timeline"))
    looked = watched.hub.starts
    seen = 0

    async def starts(model: str, environment: str) -> list[dict[str, Any]]:
        nonlocal seen
        seen += 1
        result = "ready" if seen > 2 else "starting"
        start = {"replica": "r1", "at": time.time(), "seconds": 0.4, "result": result}
        return [start] if seen > 1 else await looked(model, environment)

    watched.hub.starts = starts  # type: ignore[method-assign]
    assert "replica.start" in [bar["name"] for bar in (await asked)["bars"]]
    assert seen == 3


async def test_the_timeline_of_a_request_that_is_parked(watched: Watched):
    headers = {"x-request-id": "parked", "Authorization": "Bearer all.s"}

    async def call() -> None:
        async with watched.rig.http.post(watched.rig.predict, headers=headers) as response:
            assert response.status == 200

    calling = asyncio.create_task(call())
    await until(lambda: watched.rig.echo.waiters == 1)
    found = await watched.get(f"{API}/requests/parked/timeline")
    assert found["state"] == "parked"
    assert found["place"] == {"ahead": 0}
    await watched.rig.replica(_answers)
    await calling
    assert (await watched.get(f"{API}/requests/parked/timeline"))["state"] == "ended"


async def test_the_timeline_of_an_asynchronous_request(watched: Watched, store: Store):
    request_id = await _submitted(watched)
    found = await watched.get(f"{API}/requests/{request_id}/timeline")
    assert (found["kind"], found["state"]) == ("async", "queued")
    assert found["trace_id"]

    running = Timeline(
        request_id=request_id,
        kind="run",
        outcome="running",
        began=time.time(),
        attempts=[Attempt(1, "r9", "http://x", 0.0, "c" * 16)],
        model="echo",
        environment="production",
    )

    async def at_dispatcher(argument: bytes) -> bytes:
        live = [Live(timeline=running, since=running.began, replica="r9")]
        return msgspec.msgpack.encode(Found(live if argument.decode() == request_id else []))

    watched.report(Source("dispatcher/1", Part.DISPATCHER), {"request": at_dispatcher})
    await watched.sources(2)
    from orchestrator.store.keys import tag_of  # noqa: PLC0415

    tag = tag_of("echo", "production")
    (claim,) = await store.requests.claim(tag, 1, 30.0)
    found = await watched.get(f"{API}/requests/{request_id}/timeline")
    assert found["state"] == "running"
    assert any(bar["process"].endswith("r9") for bar in found["bars"])

    run = Run(
        attempt=1,
        source="dispatcher/1",
        span_id="d" * 16,
        began=time.time(),
        seconds=0.2,
        waited_s=0.1,
        cold=False,
        wait_span_id="e" * 16,
        tried=Attempt(1, "r9", "http://x", 0.0, "c" * 16, seconds=0.2, status=200),
    )
    done = Result(content_type="application/json", size=1, data=b"1")
    await store.requests.succeed(request_id, claim.attempt, done, run=run)
    (due,) = await store.deliveries.claim(tag, 1, 30.0)
    line = Try(at=1.5, attempt=1, status=500, seconds=0.25, answer="oh no")
    assert await store.deliveries.give_up(request_id, due.attempt, line, "it said no")
    found = await watched.get(f"{API}/requests/{request_id}/timeline")
    assert found["state"] == "ended"
    assert [each["status"] for each in found["raw"]["deliveries"]] == [500]
    assert len(found["raw"]["runs"]) == 1
    await watched.get(f"{API}/requests/{request_id}/timeline", key="echo")


async def _submitted(watched: Watched) -> str:
    body = {"model_input": {}, "webhook_endpoint": "https://127.0.0.1/hook"}
    path = "/models/echo/production/async_predict"
    status, answer = await watched.rig.ask("POST", path, body, key="all.s")
    assert status == 201, answer
    return str(answer["request_id"])


async def test_ids_that_are_unknown_or_malformed(watched: Watched):
    answer = await watched.get(f"{API}/requests/nobody/timeline", status=404)
    assert answer["detail"] == {"id": "nobody"}
    answer = await watched.get(f"{API}/requests/{'x' * 200}/timeline", status=400)
    assert answer["detail"] == {"field": "id"}
    answer = await watched.get(f"{API}/requests/a%20b/timeline", status=400)
    assert answer["detail"] == {"field": "id"}


# Logs


def _replica(watched: Watched, name: str, ring: LogRing) -> None:
    async def logs(argument: bytes) -> bytes:
        asked = msgspec.msgpack.decode(argument, type=LogsAsked)
        if asked.wait_s and not ring.select(asked.request_id, asked.after, 1):
            try:
                async with asyncio.timeout(asked.wait_s):
                    await ring.wait(max(asked.after, ring.seq))
            except TimeoutError:
                pass
        return msgspec.msgpack.encode(ring.select(asked.request_id, asked.after, asked.limit))

    source = Source(name, Part.REPLICA, "echo", "production", name)
    watched.report(source, {"logs": logs})


async def _lines(watched: Watched, query: str = "") -> list[dict[str, Any]]:
    url = f"{watched.rig.url}{API}/models/echo/environments/production/logs{query}"
    headers = {"Authorization": "Bearer all.s"}
    async with watched.rig.http.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in (await response.text()).splitlines()]


async def test_log_lines_of_replicas_come_in_the_order_of_time(watched: Watched):
    one, two = LogRing(), LogRing()
    one.add("stdout", "first", at=1.0)
    two.add("log", "second", at=2.0, level="INFO")
    one.add("stderr", "third", at=3.0)
    _replica(watched, "r1", one)
    _replica(watched, "r2", two)
    await watched.sources(3)
    lines = await _lines(watched)
    assert [(line["replica"], line["text"]) for line in lines] == [
        ("r1", "first"),
        ("r2", "second"),
        ("r1", "third"),
    ]
    assert lines[1] == {
        "at": 2.0,
        "replica": "r2",
        "stream": "log",
        "level": "INFO",
        "text": "second",
        "request_id": "",
        "trace_id": "",
    }
    assert [line["text"] for line in await _lines(watched, "?replica=r1")] == ["first", "third"]
    assert [line["text"] for line in await _lines(watched, "?lines=1")] == ["third"]
    path = f"{API}/models/echo/environments/production/logs"
    await watched.get(f"{path}?lines=5001", status=400)


async def test_without_replicas_the_last_failures_lines_are_told(watched: Watched):
    failed = {"replica": "r0", "at": 5.0, "result": "failed", "stages": {}}
    live = {**ROW, "replicas": [], "log_tail": ["no such file"]}
    await watched.queue("echo", live=live, starts=[failed])
    (line,) = await _lines(watched)
    assert (line["text"], line["replica"], line["at"]) == ("no such file", "r0", 5.0)


async def test_log_lines_are_followed(watched: Watched, monkeypatch):
    monkeypatch.setattr(insight, "FOLLOW_PAUSE_S", 0.01)
    monkeypatch.setattr(insight, "FOLLOW_WAIT_S", 0.1)
    one = LogRing()
    one.add("stdout", "before")
    _replica(watched, "r1", one)
    await watched.sources(2)
    url = f"{watched.rig.url}{API}/models/echo/environments/production/logs?follow=true&lines=10"
    headers = {"Authorization": "Bearer all.s"}
    async with watched.rig.http.get(url, headers=headers) as response:

        async def line() -> tuple[str, str]:
            while True:
                found = (await response.content.readline()).strip()
                if found:
                    decoded = json.loads(found)
                    return decoded["replica"], decoded["text"]

        assert await line() == ("r1", "before")
        one.add("stdout", "and after")
        assert await line() == ("r1", "and after")
        two = LogRing()
        two.add("stdout", "a new replica's")
        _replica(watched, "r2", two)
        assert await line() == ("r2", "a new replica's")
        one.add("stdout", "at last")
        assert await line() == ("r1", "at last")
