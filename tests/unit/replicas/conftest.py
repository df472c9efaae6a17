"""A replica without Ray: a reporter in memory, and real HTTP to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from orchestrator.cluster_secret import FILE_VARIABLE
from orchestrator.lifecycle.replica import ReplicaReport, ReportReply, Stage
from replicas.deployment import Replica
from tests.unit.replicas import models

if TYPE_CHECKING:
    from pathlib import Path


class MemoryReporter:
    """Keeps every report; answers with `reply`, or raises `failure` while it is set."""

    def __init__(self) -> None:
        self.reports: list[ReplicaReport] = []
        self.reply = ReportReply()
        self.failure: Exception | None = None
        self.calls = 0
        self._heard = asyncio.Condition()

    async def report(self, report: ReplicaReport) -> ReportReply:
        async with self._heard:
            self.calls += 1
            if self.failure is None:
                self.reports.append(report)
            self._heard.notify_all()
        if self.failure is not None:
            raise self.failure
        return self.reply

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20), self._heard:
            await self._heard.wait_for(condition)

    async def until_stage(self, stage: Stage) -> ReplicaReport:
        await self.until(lambda: stage in self.stages)
        return next(report for report in self.reports if report.stage is stage)

    @property
    def stages(self) -> list[Stage]:
        """Stages in the order in which they were first heard of."""
        return list(dict.fromkeys(report.stage for report in self.reports))


StartReplica = Callable[..., Awaitable[Replica]]

NODE = "127.0.0.2"
"""Stands for a node's address that other machines can reach."""

SECRET = "of-this-cluster-" * 3
SENT = {"x-orchestrator-cluster": SECRET}


@pytest.fixture
def on_a_reachable_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.setattr("replicas.place.node_ip", lambda: NODE)
    monkeypatch.setattr("replicas.deployment.is_guarded", lambda host: host == NODE)


@pytest.fixture
def secrets(on_a_reachable_node: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of the cluster's secrets, on such a node."""
    path = tmp_path / "secrets"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    return path


@pytest.fixture
def reporter() -> MemoryReporter:
    return MemoryReporter()


@pytest.fixture(autouse=True)
def _fresh_signals() -> None:
    models.reset()


def spec_of(runner: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A ReplicaSpec; a str is the name of a class in `models`."""
    if isinstance(runner, str):
        path = runner if ":" in runner else f"tests.unit.replicas.models:{runner}"
        arguments = fields.pop("arguments", {})
        runner = {"type": "python", "class": path, "arguments": arguments}
    whose = {"model": "m", "environment": "production", "deployment": "d"}
    return {**whose, "runner": runner, **fields}


@pytest.fixture
async def start(reporter: MemoryReporter) -> AsyncIterator[StartReplica]:
    """Starts replicas as Serve does, and closes them at the end."""
    started: list[Replica] = []

    async def start(runner: str | dict[str, Any], **fields: Any) -> Replica:
        replica = Replica.__new__(Replica)
        started.append(replica)
        await replica.__init__(spec_of(runner, **fields), reporter)  # type: ignore[misc] # as Serve does
        return replica

    yield start
    models.release()
    reporter.failure = None
    for replica in started:
        await replica.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session
