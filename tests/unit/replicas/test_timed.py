from __future__ import annotations

import pytest

from replicas import InvalidInput
from replicas.examples.timed import Timed


async def test_a_request_takes_as_long_as_it_says(start, http):
    arguments = {"load_seconds": 0.001}
    replica = await start("replicas.examples.timed:Timed", arguments=arguments)
    body = {"service_seconds": 0.01, "anything": "else"}
    async with http.post(f"{replica.address}/predict", json=body) as answer:
        assert await answer.json() == {"service_seconds": 0.01}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"service_seconds": "1"},
        {"service_seconds": True},
        {"service_seconds": -0.1},
        {"service_seconds": float("inf")},
        {"service_seconds": None},
    ],
)
async def test_a_request_without_a_sensible_time_is_refused(body):
    with pytest.raises(InvalidInput, match="service_seconds must be a number of seconds"):
        await Timed().predict(body)
