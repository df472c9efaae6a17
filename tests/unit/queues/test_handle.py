"""Calls to a queue that may be away: each ends in its time, and says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from ray import serve
from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import DeploymentUnavailableError

from orchestrator.lifecycle.permits import Exchange, Reply
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.queues import handle
from orchestrator.queues.handle import QueueHandle, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator


class Response:
    """What a call to a deployment gives at once: its answer, an error, or never either."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        if self._answer is None:
            yield from asyncio.get_running_loop().create_future().__await__()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def cancel(self) -> None:
        self.cancelled = True


class Deployment:
    """Serve's handle of a deployment; `answers` are those of the next calls, None: silence."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.calls: list[tuple[str, tuple[Any, ...], Response]] = []
        self.asked_for: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def found(self, *names: str, **options: Any) -> Deployment:
        self.asked_for.append((names, options))
        return self

    def __getattr__(self, method: str) -> Any:
        outer = self

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> Response:
                response = Response(outer.answers.pop(0))
                outer.calls.append((method, arguments, response))
                return response

        return Method


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = Deployment()
    monkeypatch.setattr(serve, "get_deployment_handle", deployment.found)
    monkeypatch.setattr(handle, "CALL_TIMEOUT_S", 0.02)
    return deployment


async def test_a_queue_on_a_machine_that_vanished_costs_each_call_its_time(deployment: Deployment):
    queue = QueueHandle("m.production")
    reply = Reply("t/1", 1, 1)
    deployment.answers = [None, None, reply]
    for _ in range(2):
        with pytest.raises(QueueUnavailable, match=r"no answer to exchange in 0\.02 s"):
            await queue.exchange(Exchange("h", 1))
    # Another replica has taken its place, and Serve's handle has heard of it.
    assert await queue.exchange(Exchange("h", 2)) is reply
    assert [response.cancelled for _, _, response in deployment.calls] == [True, True, False]


@pytest.mark.parametrize(
    "error",
    [
        ActorUnavailableError("it is away", b"x" * 16),
        DeploymentUnavailableError("its starts fail"),  # type: ignore[arg-type]
        grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata()),
    ],
    ids=["actor", "serve", "grpc"],
)
async def test_a_call_that_ray_gives_up_is_no_answer(deployment: Deployment, error: Exception):
    deployment.answers = [error]
    with pytest.raises(QueueUnavailable, match=r"queue of m\.production"):
        await QueueHandle("m.production").wake()


async def test_nothing_is_asked_of_serve_s_controller(deployment: Deployment):
    """Its answer would be waited for by the whole process, and it may be away as well."""
    deployment.answers = [{"n": 1}, {"n": 2}]
    queue = QueueHandle("m.production")
    assert deployment.asked_for == []
    assert [await queue.describe(), await queue.describe()] == [{"n": 1}, {"n": 2}]
    assert deployment.asked_for == [(("Queue", "m.production"), {"_check_exists": False})]


async def test_a_replica_s_report_is_bounded_too(deployment: Deployment):
    deployment.answers = [None]
    with pytest.raises(QueueUnavailable, match="no answer to report"):
        await QueueHandle("m.production").report(ReplicaReport("r1", "v1", Stage.READY, 2))


async def test_a_watch_is_given_the_time_that_the_queue_holds_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(handle, "WATCH_S", 0.03)
    deployment.answers = [None]
    with pytest.raises(QueueUnavailable, match=r"no answer to watch in 0\.05 s"):
        await QueueHandle("m.production").watch("h", "t/1", 0)
