"""Deployments that never start: those who wait hear why, at once."""

import asyncio

import pytest

from tests.integration.running_cluster import RunningCluster

REASONS = {
    "production": ("weights.bin is truncated at byte 4096", "OSError"),
    "no-module": ("there is no module 'tests.integration.no_such_module'", ""),
    "exits": ("sh ended with exit status 3 before it was ready", "cannot open the weights"),
    "never-ready": ("not ready within 1 s (startup.timeout_seconds)", ""),
}


@pytest.mark.parametrize("environment", list(REASONS))
async def test_waiters_of_a_deployment_that_never_starts_get_503_with_the_reason(
    cluster: RunningCluster, environment: str
) -> None:
    reason, log_line = REASONS[environment]
    target = f"broken/{environment}"
    replies = await asyncio.gather(*(cluster.predict(target) for _ in range(3)))
    for reply in replies:
        assert reply.status == 503, reply.body
        assert int(reply.headers["retry-after"]) >= 1
        error = reply.json
        assert error["error_code"] == "model_unavailable"
        assert reason in error["error"]
        assert reason in error["detail"]["reason"]
        assert log_line in "\n".join(error["detail"]["log_tail"])
    found = await cluster.environment(target)
    assert found["status"] == "UNHEALTHY"
    assert reason in found["live"]["reason"]
    # The next one need not wait for the failure of another start.
    again = await cluster.predict(target)
    assert again.status == 503
    assert int(again.headers["x-queue-wait-ms"]) < 500
    shown = await cluster.command("status", "--name", cluster.name)
    assert reason.split(" (")[0] in shown.output.replace("\n", "")
