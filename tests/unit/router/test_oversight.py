"""What operators see and do: requests, dead letters, signing keys."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.store.keys import tag_of
from orchestrator.store.records import Result, Try
from tests.unit.router.harness import table

if TYPE_CHECKING:
    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "echo": {"production": {}, "staging": {}},
    "other": {"production": {}},
}
PLACES = (("echo", "production"), ("echo", "staging"), ("other", "production"))
API = "/api/v1"
DONE = Result(content_type="application/json", size=1, data=b"1")
HOSTS = ("127.0.0.1", "127.0.0.2")


def _key(*scopes: str, **limits: Any) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(b"s").hexdigest(), "scopes": list(scopes), **limits}


KEYS = {
    "all": _key("manage", "inference"),
    "run": _key("inference"),
    "echo": _key("manage", models=["echo"]),
    "staging": _key("manage", environments=["staging"]),
}


@pytest.fixture
def watched(rig: Rig, store: Store, store_server: EmbeddedServer) -> Rig:
    """Three environments, with keys that reach them all or some, and receivers on loopback."""
    webhooks = {"allowed_networks": ["127.0.0.0/8"]}
    settings: Any = {"store": store_server.url, "webhooks": webhooks, "auth": {"keys": KEYS}}
    rig.app.configure(table(MODELS, **settings))
    return rig


async def _submit(rig: Rig, model: str, environment: str, host: str | None = None) -> str:
    path = f"/models/{model}/environments/{environment}/async_predict"
    webhook = None if host is None else f"https://{host}/hook?token=1"
    body: Any = {"model_input": {}, "webhook_endpoint": webhook}
    status, answer = await rig.ask("POST", path, body, key="all.s")
    assert status == 201, answer
    return str(answer["request_id"])


async def _give_up(rig: Rig, store: Store, model: str, environment: str, host: str) -> str:
    """A request whose webhook ends in the dead letters."""
    request_id = await _submit(rig, model, environment, host)
    tag = tag_of(model, environment)
    (claim,) = await store.requests.claim(tag, 1, 30.0)
    await store.requests.succeed(request_id, claim.attempt, DONE)
    (due,) = await store.deliveries.claim(tag, 1, 30.0)
    line = Try(at=1.5, attempt=1, status=500, seconds=0.25, answer="oh no")
    assert await store.deliveries.give_up(request_id, due.attempt, line, "it said no")
    return request_id


async def _get(rig: Rig, path: str, key: str = "all") -> Any:
    status, answer = await rig.ask("GET", API + path, key=f"{key}.s")
    assert status == 200, answer
    return answer


def _ids(page: Any, what: str) -> list[str]:
    return [each["request_id"] for each in page[what]]


# Requests


async def test_requests_of_all_environments_are_listed_one_after_the_other(
    watched: Rig, store: Store
) -> None:
    made = {place: [await _submit(watched, *place) for _ in range(3)] for place in PLACES}
    expected = [each for place in PLACES for each in reversed(made[place])]
    listed: list[str] = []
    cursor = ""
    for _ in range(5):
        page = await _get(watched, f"/async_requests?limit=2{cursor}")
        listed += _ids(page, "async_requests")
        cursor = f"&cursor={page['cursor']}"
    assert page["cursor"] is None
    assert listed == expected


async def test_requests_are_listed_by_place_and_status(watched: Rig, store: Store) -> None:
    made = {place: await _submit(watched, *place) for place in PLACES}
    await store.requests.cancel(made[PLACES[0]])

    async def found(query: str, key: str = "all") -> list[str]:
        return _ids(await _get(watched, f"/async_requests?{query}", key), "async_requests")

    production, staging, other = made.values()
    assert await found("model=echo") == [production, staging]
    assert await found("environment=production") == [production, other]
    assert await found("model=other&environment=production") == [other]
    assert await found("status=CANCELED") == [production]
    assert await found("status=QUEUED&model=echo") == [staging]
    assert await found("", "echo") == [production, staging]
    assert await found("", "staging") == [staging]


@pytest.mark.parametrize("path", ["/async_requests", "/dead_letters"])
@pytest.mark.parametrize(
    ("key", "query", "status"),
    [
        ("run", "", 403),
        ("echo", "model=other", 403),
        ("staging", "environment=production", 403),
        ("staging", "model=echo&environment=production", 403),
        ("all", "model=nope", 404),
        ("all", "model=echo&environment=nope", 404),
        ("all", "color=red", 400),
        ("all", "limit=0", 400),
        ("all", "cursor=x", 400),
        ("all", f"model=other&cursor={tag_of('echo', 'staging')}.", 400),
        ("all", "model=echo&model=echo", 400),
    ],
)
async def test_lists_refuse(watched: Rig, path: str, key: str, query: str, status: int) -> None:
    assert (await watched.ask("GET", f"{API}{path}?{query}", key=f"{key}.s"))[0] == status


async def test_the_deliveries_of_a_request(watched: Rig, store: Store) -> None:
    request_id = await _give_up(watched, store, "echo", "production", HOSTS[0])
    log = await _get(watched, f"/async_requests/{request_id}/deliveries")
    (line,) = log.pop("deliveries")
    assert log == {
        "request_id": request_id,
        "webhook_status": "FAILED",
        "webhook_endpoint": "https://127.0.0.1/hook?token=1",
    }
    assert datetime.fromisoformat(line.pop("at")).timestamp() == 1.5
    assert line == {"attempt": 1, "status": 500, "seconds": 0.25, "answer": "oh no", "error": ""}
    quiet = await _submit(watched, "echo", "staging")
    log = await _get(watched, f"/async_requests/{quiet}/deliveries")
    assert (log["deliveries"], log["webhook_endpoint"]) == ([], None)


@pytest.mark.parametrize("name", ["0" * 32, "nope"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/async_requests/{}/deliveries"),
        ("GET", "/dead_letters/{}"),
        ("DELETE", "/dead_letters/{}"),
        ("POST", "/dead_letters/{}/replay"),
        ("DELETE", "/webhook_secrets/{}"),
    ],
)
async def test_what_nobody_knows(watched: Rig, method: str, path: str, name: str) -> None:
    status, answer = await watched.ask(method, API + path.format(name), key="all.s")
    assert (status, answer["error_code"]) == (404, "client_error")
    assert answer["detail"] == {"id": name}


# Dead letters


async def test_a_dead_letter_is_shown_replayed_and_dropped(watched: Rig, store: Store) -> None:
    request_id = await _give_up(watched, store, "echo", "production", HOSTS[0])
    (letter,) = (await _get(watched, "/dead_letters"))["dead_letters"]
    given_up_at = datetime.fromisoformat(letter["given_up_at"])
    assert given_up_at.timestamp() > 1_700_000_000
    assert letter == {
        "request_id": request_id,
        "model_id": "echo",
        "environment": "production",
        "webhook_endpoint": "https://127.0.0.1/hook?token=1",
        "given_up_at": letter["given_up_at"],
        "reason": "it said no",
        "attempts": 1,
    }
    shown = await _get(watched, f"/dead_letters/{request_id}")
    (line,) = shown.pop("deliveries")
    assert shown == letter
    assert (line["status"], line["answer"]) == (500, "oh no")

    path = f"{API}/dead_letters/{request_id}"
    assert await watched.ask("POST", f"{path}/replay", key="all.s") == (
        200,
        {"request_id": request_id, "replayed": True},
    )
    assert (await _get(watched, "/dead_letters"))["dead_letters"] == []
    (due,) = await store.deliveries.claim(tag_of("echo", "production"), 1, 30.0)
    assert due.request_id == request_id
    # It is none any more.
    assert (await watched.ask("POST", f"{path}/replay", key="all.s"))[0] == 404

    await store.deliveries.give_up(request_id, due.attempt, Try(at=2.0, attempt=1), "no again")
    assert await watched.ask("DELETE", path, key="all.s") == (
        200,
        {"request_id": request_id, "dropped": True},
    )
    assert (await watched.ask("DELETE", path, key="all.s"))[0] == 404
    _, shown = await watched.ask("GET", f"/async_request/{request_id}", key="all.s")
    assert (shown["status"], shown["webhook_status"]) == ("WEBHOOK_FAILED", "FAILED")


async def test_dead_letters_are_listed_by_place_and_host(watched: Rig, store: Store) -> None:
    made = {
        (*place, host): await _give_up(watched, store, *place, host)
        for place in PLACES
        for host in HOSTS
    }

    async def found(query: str, key: str = "all") -> set[str]:
        return set(_ids(await _get(watched, f"/dead_letters?{query}", key), "dead_letters"))

    def named(model: str = "", environment: str = "", host: str = "") -> set[str]:
        return {
            letter
            for (m, e, h), letter in made.items()
            if model in ("", m) and environment in ("", e) and host in ("", h)
        }

    assert await found("") == set(made.values())
    assert await found("model=echo") == named("echo")
    assert await found(f"environment=production&host={HOSTS[1]}") == named(
        "", "production", HOSTS[1]
    )
    assert await found("host=nobody.example.com") == set()
    assert await found("", "staging") == named("", "staging")

    listed: list[str] = []
    cursor = ""
    while cursor != "&cursor=None":
        page = await _get(watched, f"/dead_letters?limit=2&host={HOSTS[0]}{cursor}")
        assert len(page["dead_letters"]) <= 2
        listed += _ids(page, "dead_letters")
        cursor = f"&cursor={page['cursor']}"
    assert sorted(listed) == sorted(named(host=HOSTS[0]))


async def test_dead_letters_are_replayed_by_filter(watched: Rig, store: Store) -> None:
    for place in PLACES:
        for host in (*HOSTS, *HOSTS):
            await _give_up(watched, store, *place, host)

    async def replay(which: Any, key: str = "all") -> tuple[int, Any]:
        return await watched.ask("POST", f"{API}/dead_letters/replay", which, key=f"{key}.s")

    async def left() -> int:
        return len((await _get(watched, "/dead_letters"))["dead_letters"])

    assert await replay({"model": "echo", "host": HOSTS[0].upper()}) == (200, {"replayed": 4})
    assert await left() == 8
    assert await replay({"model": "echo", "environment": "staging"}) == (200, {"replayed": 2})
    assert await replay({"host": None}, "echo") == (200, {"replayed": 2})
    assert await left() == 4
    assert await replay({}) == (200, {"replayed": 4})
    assert await left() == 0
    assert await replay({}) == (200, {"replayed": 0})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        ({"hosts": "a"}, "hosts"),
        ({"host": 5}, "host"),
        ({"model": ["echo"]}, "model"),
    ],
)
async def test_a_filter_that_is_none_replays_nothing(
    watched: Rig, store: Store, body: Any, field: str
) -> None:
    await _give_up(watched, store, "echo", "production", HOSTS[0])
    status, answer = await watched.ask("POST", f"{API}/dead_letters/replay", body, key="all.s")
    assert (status, answer["detail"]) == (400, {"field": field})
    assert len((await _get(watched, "/dead_letters"))["dead_letters"]) == 1


async def test_a_dead_letter_out_of_reach(watched: Rig, store: Store) -> None:
    request_id = await _give_up(watched, store, "echo", "production", HOSTS[0])
    for key, status in (("run", 403), ("staging", 403), ("echo", 200)):
        for path in (f"/dead_letters/{request_id}", f"/async_requests/{request_id}/deliveries"):
            assert (await watched.ask("GET", API + path, key=f"{key}.s"))[0] == status
    for method, path in (("POST", "/replay"), ("DELETE", "")):
        status, _ = await watched.ask(
            method, f"{API}/dead_letters/{request_id}{path}", key="staging.s"
        )
        assert status == 403
    assert (
        await watched.ask("POST", f"{API}/dead_letters/replay", {"model": "echo"}, key="run.s")
    )[0] == 403


# Signing keys


async def test_signing_keys_are_made_rotated_and_deleted(watched: Rig, store: Store) -> None:
    secrets = f"{API}/webhook_secrets"
    status, first = await watched.ask("POST", secrets, key="all.s")
    assert status == 201
    assert set(first) == {"id", "created_at", "expires_at", "secret"}
    assert first["secret"].startswith("whsec_")
    assert first["expires_at"] is None

    status, second = await watched.ask("POST", f"{secrets}/rotate", {}, key="all.s")
    assert status == 201
    assert second["secret"] != first["secret"]
    listed = (await _get(watched, "/webhook_secrets"))["webhook_secrets"]
    assert [each["id"] for each in listed] == [second["id"], first["id"]]
    # The older one has an end now, and no secret is told again.
    assert [each["expires_at"] is None for each in listed] == [True, False]
    assert all("secret" not in each for each in listed)
    active = await store.signing_keys.active()
    assert [each.secret for each in active] == [second["secret"], first["secret"]]

    assert await watched.ask("DELETE", f"{secrets}/{first['id']}", key="all.s") == (
        200,
        {"id": first["id"], "deleted": True},
    )
    assert (await watched.ask("DELETE", f"{secrets}/{first['id']}", key="all.s"))[0] == 404
    assert len((await _get(watched, "/webhook_secrets"))["webhook_secrets"]) == 1


@pytest.mark.parametrize("key", ["run", "echo", "staging"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("POST", "/rotate"), ("DELETE", "/x")]
)
async def test_signing_keys_are_for_those_who_reach_everything(
    watched: Rig, store: Store, key: str, method: str, path: str
) -> None:
    status, _ = await watched.ask(method, f"{API}/webhook_secrets{path}", key=f"{key}.s")
    assert status == 403
    assert await store.signing_keys.active() == []


async def test_no_secret_gets_into_the_log(
    watched: Rig, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    _, made = await watched.ask("POST", f"{API}/webhook_secrets", key="all.s")
    assert made["secret"].removeprefix("whsec_") not in caplog.text
    assert made["secret"].removeprefix("whsec_") not in repr(await store.signing_keys.active())


# What holds for all of them


@pytest.mark.parametrize(
    "path", ["/webhook_secrets", "/webhook_secrets/rotate", f"/dead_letters/{'0' * 32}/replay"]
)
@pytest.mark.parametrize("body", [{"name": "x"}, b"[]", b"no json"])
async def test_a_body_that_is_not_wanted_is_refused(
    watched: Rig, store: Store, path: str, body: Any
) -> None:
    status, _ = await watched.ask("POST", API + path, body, key="all.s")
    assert status == 400
    assert await store.signing_keys.list() == []


async def test_a_body_that_is_too_large_is_refused(watched: Rig) -> None:
    status, answer = await watched.ask(
        "POST", f"{API}/dead_letters/replay", b" " * 70_000, key="all.s"
    )
    assert (status, answer["error_code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/webhook_secrets", {"GET", "HEAD", "POST"}),
        ("GET", "/webhook_secrets/rotate", {"POST"}),
        ("POST", "/dead_letters/x", {"DELETE", "GET", "HEAD"}),
        ("DELETE", "/async_requests", {"GET", "HEAD"}),
    ],
)
async def test_other_methods(watched: Rig, method: str, path: str, allowed: set[str]) -> None:
    headers = {"Authorization": "Bearer all.s"}
    async with watched.http.request(method, watched.url + API + path, headers=headers) as response:
        assert response.status == 405
        assert set(response.headers["allow"].split(", ")) == allowed


async def test_parameters_are_refused_where_there_are_none(watched: Rig, store: Store) -> None:
    for method, path in (
        ("POST", "/webhook_secrets"),
        ("GET", "/webhook_secrets"),
        ("POST", "/dead_letters/replay"),
        ("DELETE", "/dead_letters/x"),
    ):
        status, answer = await watched.ask(method, f"{API}{path}?a=1", key="all.s")
        assert (status, answer["detail"]) == (400, {"field": "a"})
