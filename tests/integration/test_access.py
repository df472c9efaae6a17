"""Who may call what, and who is told what there is."""

from typing import Any

import pytest

from tests.integration.running_cluster import RunningCluster, predict_path

MANAGED = "/api/v1/models"


def bearer(key: str) -> dict[str, Any]:
    return {"headers": {"authorization": f"Bearer {key}"}}


@pytest.mark.parametrize("path", [predict_path("work"), predict_path("nothing"), MANAGED])
@pytest.mark.parametrize("key", ["", "dev", "dev.wrong", "nobody.0123456789abcdef"])
async def test_without_a_valid_key_everything_is_401_and_nothing_is_named(
    cluster: RunningCluster, path: str, key: str
) -> None:
    method = "GET" if path == MANAGED else "POST"
    reply = await cluster.ask(method, path, **bearer(key))
    assert reply.status == 401
    assert reply.json["error_code"] == "unauthorized"
    assert "www-authenticate" in reply.headers
    assert b"steady" not in reply.body


async def test_a_key_reaches_no_further_than_its_scope_and_models(cluster: RunningCluster) -> None:
    narrow = bearer(cluster.key("narrow"))
    assert (await cluster.predict("work", **narrow)).status == 200
    for method, path in (("POST", predict_path("steady")), ("GET", MANAGED)):
        reply = await cluster.ask(method, path, **narrow)
        assert reply.status == 403
        assert reply.json["error_code"] == "unauthorized"


async def test_a_valid_key_is_told_the_models_that_it_may_know(cluster: RunningCluster) -> None:
    reply = await cluster.predict("wrok")
    assert reply.status == 404
    assert reply.json["error_code"] == "model_does_not_exist"
    assert {"work", "steady", "hasty"} <= set(reply.json["detail"]["known"])
    reply = await cluster.predict("work/staging")
    assert reply.status == 404
    assert reply.json["detail"]["known"] == ["production"]
    listed = await cluster.ask("GET", "/v1/models", **bearer(cluster.key("narrow")))
    assert [model["id"] for model in listed.json["data"]] == ["work"]


async def test_api_key_is_a_scheme_too(cluster: RunningCluster) -> None:
    headers = {"authorization": f"Api-Key {cluster.key('dev')}"}
    assert (await cluster.predict("work", headers=headers)).status == 200
