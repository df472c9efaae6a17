"""Keys: who gets in, how far, and what they get to know."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.errors import Forbidden, Unauthorized
from orchestrator.router import table as tables
from orchestrator.router.auth import Keyring
from tests.unit.router.harness import table
from tests.unit.router.test_proxying import Recorder

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


def _key(secret: str, **limits: Any) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "scopes": ["inference"],
        "models": None,
        "environments": None,
        **limits,
    }


KEYS = {
    "all": _key("s3cret.with.dots", scopes=["inference", "manage"]),
    "run": _key("run"),
    "manage": _key("manage", scopes=["manage"]),
    "other": _key("other", models=["other"], scopes=["inference", "manage"]),
    "dev": _key("dev", environments=["development"]),
}
BOTH: dict[str, dict[str, dict[str, Any]]] = {
    "echo": {"production": {}, "development": {}},
    "other": {"production": {}},
}


@pytest.fixture
async def locked(rig: Rig) -> Rig:
    rig.app.configure(table(BOTH, auth={"keys": KEYS}))
    await rig.replica(Recorder())
    return rig


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer run",
        "Bearer run.",
        "Bearer .run",
        "Bearer run.wrong",
        "Bearer nobody.run",
        "Basic run.run",
        "run.run",
        "Bearer \u00ff\u00ff.\u00ff",
    ],
)
@pytest.mark.parametrize("path", ["/models/echo/production/predict", "/v1/models", "/nowhere"])
async def test_without_a_valid_key_nothing_is_told(
    locked: Rig, authorization: str | None, path: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with locked.http.post(locked.url + path, headers=headers) as response:
        text = await response.text()
        assert response.status == 401
        assert "Bearer" in response.headers["www-authenticate"]
        assert "echo" not in text
        assert "unauthorized" in text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Api-Key", "API-KEY"])
async def test_a_valid_key_gets_in(locked: Rig, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} all.s3cret.with.dots"}
    async with locked.http.post(locked.predict, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("run.run", "/models/echo/production/predict", 200),
        ("manage.manage", "/models/echo/production/predict", 403),
        ("other.other", "/models/echo/production/predict", 403),
        ("other.other", "/models/echo/deployment/v1/predict", 403),
        ("other.other", "/models/never/production/predict", 403),
        ("dev.dev", "/models/echo/production/predict", 403),
        ("dev.dev", "/models/echo/production/sync/x", 403),
        # Of the environments that run it, this key reaches one without a replica.
        ("dev.dev", "/models/other/deployment/v1/predict", 404),
    ],
)
async def test_how_far_a_key_reaches(locked: Rig, key: str, path: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with locked.http.post(locked.url + path, headers=headers) as response:
        assert response.status == status


async def test_management_needs_its_own_scope(locked: Rig) -> None:
    url = f"{locked.url}/api/v1/models"
    async with locked.http.get(url, headers={"Authorization": "Bearer run.run"}) as response:
        assert response.status == 403
        assert "`manage`" in (await response.json())["error"]
    async with locked.http.get(url, headers={"Authorization": "Bearer manage.manage"}) as response:
        assert response.status == 200


async def test_an_unknown_model_names_only_what_the_key_reaches(locked: Rig) -> None:
    async def known(key: str) -> list[str]:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{locked.url}/models/never/production/predict"
        async with locked.http.post(url, headers=headers) as response:
            return list((await response.json())["detail"].get("known", []))

    assert await known("run.run") == ["echo", "other"]
    assert await known("other.other") == []


async def test_lists_are_limited_to_the_keys_reach(locked: Rig) -> None:
    async def names(key: str) -> list[str]:
        headers = {"Authorization": f"Bearer {key}"}
        async with locked.http.get(f"{locked.url}/v1/models", headers=headers) as response:
            return [model["id"] for model in (await response.json())["data"]]

    assert await names("run.run") == ["echo/development", "echo", "other"]
    assert await names("other.other") == ["other"]
    assert await names("dev.dev") == ["echo/development"]


async def test_health_and_the_description_need_no_key(locked: Rig) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        async with locked.http.get(locked.url + path) as response:
            assert response.status == 200


async def test_a_key_given_twice_is_none(locked: Rig) -> None:
    reader, writer = await locked.connect()
    writer.write(
        b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n"
        b"authorization: Bearer run.run\r\nauthorization: Bearer run.run\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")


def test_an_unknown_prefix_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counting(given: str, expected: str) -> bool:
        compared.append(len(given))
        return given == expected

    monkeypatch.setattr(hmac, "compare_digest", counting)
    ring = Keyring(tables.Auth({"run": tables.Key(**_key("run"))}))
    for authorization in (b"Bearer run.wrong", b"Bearer no.run", b"", None):
        with pytest.raises(Unauthorized):
            ring.check(authorization)
    assert compared == [64, 64, 64, 64]
    with pytest.raises(Forbidden, match="scope `manage`"):
        ring.check(b"Bearer run.run").demand("manage")
