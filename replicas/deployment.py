"""The replica: one model, brought up, watched, drained and ended.

A thin shell around a runner. Serve constructs it (`async __init__`), checks it
(`check_health`) and ends it (`__del__`); it tells the environment's queue about
every step.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from orchestrator.cluster_secret import FILE_VARIABLE, ClusterSecret, SecretError, is_guarded
from orchestrator.lifecycle.replica import Stage
from replicas import place
from replicas.errors import ReplicaError, StartFailed, Unhealthy
from replicas.predictions import Identity
from replicas.reporting import StageReports
from replicas.runners.command import CommandRunner
from replicas.runners.python import PythonRunner
from replicas.spec import CommandRunnerSpec, ReplicaSpec
from replicas.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from orchestrator.observatory.protocol import Hub
    from orchestrator.queues.reports import Reporter
    from replicas.runners import Runner

# Serve's logger: what is said here lands in the replica's own log file.
logger = logging.getLogger("ray.serve")

DRAIN_POLL_SECONDS = 0.1
QUEUE_GONE_SECONDS = 5.0
"""A queue that is silent for so long while a replica drains was deleted with it."""
CHILD_GRACE_SECONDS = 10.0
"""For a child to end after SIGTERM, once nothing runs in it any more."""


class Replica:
    """One replica of one deployment.

    Constructing it takes as long as the model takes to become ready, and raises
    StartFailed if it does not. In between, and until `close` has ended, the queue
    hears of each stage and gets a heartbeat every second.
    """

    _reports: StageReports | None = None
    _telling: Telling | None = None
    _runner: Runner | None = None
    _secret: ClusterSecret | None = None
    _starting: asyncio.Task[None] | None = None
    _watching: asyncio.Task[None] | None = None
    _closing: asyncio.Task[None] | None = None
    _failure: str | None = None

    async def __init__(  # type: ignore[misc] # Serve awaits an async constructor
        self, spec: dict[str, Any], reporter: Reporter | None = None, hub: Hub | None = None
    ) -> None:
        """Starts the model that `spec` (a ReplicaSpec as JSON) describes.

        Args:
            spec: see `replicas.spec.ReplicaSpec`.
            reporter: where stages go; by default the queue of the environment.
            hub: where its lines can be asked for; by default, where `reporter` is not
                given either, the cluster's observatory.
        """
        self._spec = ReplicaSpec.model_validate(spec)
        if reporter is None:
            # These need Serve, which a replica outside of a cluster does without.
            from orchestrator.observatory.handle import ObservatoryHandle  # noqa: PLC0415
            from orchestrator.queues.reports import QueueReporter  # noqa: PLC0415

            reporter = QueueReporter(f"{self._spec.model}.{self._spec.environment}")
            hub = hub or ObservatoryHandle()
        replica_id = place.replica_id()
        identity = Identity(
            self._spec.model, self._spec.environment, self._spec.deployment, replica_id
        )
        # With the process's own variables, not those of the model.
        self._telling = Telling(identity, self._spec.telemetry, hub)
        self._telling.start()
        self._reports = StageReports(
            reporter,
            replica_id=replica_id,
            deployment=self._spec.deployment,
            slots=self._spec.slots,
            in_flight=lambda: self._runner.in_flight if self._runner is not None else 0,
        )
        self._starting = asyncio.create_task(self._start(self._reports, self._telling))
        try:
            await self._starting
        except asyncio.CancelledError:
            if self._closing is None:
                await self.close()
                raise
            raise StartFailed("the replica was stopped while it was starting") from None

    @property
    def address(self) -> str:
        """Base URL at which requests are answered."""
        return self._runner.address if self._runner is not None else ""

    async def check_health(self) -> None:
        """Raises Unhealthy once the replica has failed for good.

        Inside Serve the process ends instead: Serve replaces a replica that is gone
        at once, but one that raises only after its third check.
        """
        if self._failure is None:
            return
        if place.serve_replica_id() is not None:
            logger.error("leaving, to be replaced: %s", self._failure)
            os._exit(1)
        raise Unhealthy(self._failure)

    async def close(self) -> None:
        """Drains and ends the replica: no permit out, nothing in flight, child gone.

        Takes at most `drain_timeout_seconds` and a few seconds more. May be called
        while the replica is still starting, and more than once.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    def __del__(self) -> Coroutine[Any, Any, None] | None:
        """What Serve calls, and awaits, to end a replica; the interpreter gets None."""
        if self._reports is None or self._closing is not None:
            return None
        return self.close()

    async def _start(self, reports: StageReports, telling: Telling) -> None:
        limit_s = self._spec.startup.timeout_seconds
        limit = asyncio.timeout(limit_s)
        try:
            self._runner = runner = self._make_runner(telling)
            async with limit:
                await runner.start(reports.enter)
        except StartFailed as error:
            failure = error
        except ReplicaError as error:
            failure = StartFailed(str(error))
        except Exception as error:
            logger.exception("start failed")
            failure = StartFailed(f"{type(error).__name__}: {error}")
            if limit.expired():
                where = f"still {reports.stage}: {runner.progress}"
                limit_is = f"{limit_s:g} s (startup.timeout_seconds)"
                failure = StartFailed(f"not ready within {limit_is}, {where}", runner.log_tail)
        else:
            reports.enter(Stage.READY, address=runner.address)
            self._watching = asyncio.create_task(self._watch(reports, runner))
            return
        await self._give_up(reports, failure)

    def _make_runner(self, telling: Telling) -> Runner:
        spec = self._spec.runner
        host = place.node_ip()
        self._secret = secret = _secret_for(host)
        if secret is not None:
            secret.watch()
        variables = self._spec.resolve_environment(os.environ)
        if isinstance(spec, CommandRunnerSpec):
            # With what Ray has set in ours: the devices that it assigned.
            environment = {**os.environ, **variables}
            environment.pop(FILE_VARIABLE, None)  # no business of a model server's
            return CommandRunner(
                spec, environment=environment, host=host, heard=telling.heard, secret=secret
            )
        os.environ.update(variables)  # this process is the model's alone
        return PythonRunner(
            spec,
            slots=self._spec.slots,
            host=host,
            predictions=telling.predictions,
            secret=secret,
        )

    async def _give_up(self, reports: StageReports, failure: StartFailed) -> None:
        """Reports a failed start, waits before Serve may try the next, and raises."""
        logger.error("start failed: %s", "\n".join((failure.reason, *failure.log_tail)))
        self._failure = failure.reason
        if self._runner is not None:
            await self._runner.stop(grace_s=0)
        reply = await reports.fail(failure.reason, failure.log_tail)
        startup = self._spec.startup
        wait_s = reply.retry_in_s if reply is not None else startup.backoff_initial_seconds
        await asyncio.sleep(min(wait_s, startup.backoff_max_seconds))
        raise failure

    async def _watch(self, reports: StageReports, runner: Runner) -> None:
        """Waits until the ready model dies or fails its health checks; reports that."""
        health = self._spec.health
        failures = 0
        while failures < health.failures:
            await asyncio.wait({runner.ended}, timeout=health.interval_seconds)
            if runner.ended.done():
                reason = runner.ended.result()
                break
            try:
                async with asyncio.timeout(health.timeout_seconds):
                    await runner.check()
                failures = 0
            except (Unhealthy, TimeoutError) as error:
                failures += 1
                took = f"no answer within {health.timeout_seconds:g} s"
                what = str(error) or took
                reason = f"{failures} health checks in a row failed: {what}"
                logger.warning("health check %d of %d: %s", failures, health.failures, what)
        logger.error("failed: %s", "\n".join((reason, *runner.log_tail)))
        await reports.fail(reason, runner.log_tail)
        self._failure = reason
        await runner.stop(grace_s=0)

    async def _close(self) -> None:
        reports, runner = self._reports, self._runner
        if reports is None:
            return
        await _cancel(self._starting)
        await _cancel(self._watching)
        was_ready = reports.stage is Stage.READY
        if reports.stage is not Stage.FAILED:
            reports.enter(Stage.DRAINING)
        await reports.stop()
        grace_s = await self._drain(reports) if was_ready else 0.0
        if runner is not None:
            await runner.stop(grace_s)
        if reports.stage is not Stage.FAILED:
            reports.enter(Stage.STOPPED)
            await reports.send()
        if self._secret is not None:
            self._secret.close()
        if self._telling is not None:
            await self._telling.close()

    async def _drain(self, reports: StageReports) -> float:
        """Waits until nothing runs any more; seconds that a child then has to end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._spec.drain_timeout_seconds
        heard = loop.time()
        while (now := loop.time()) < deadline:
            reply = await reports.send()
            in_flight = self._runner.in_flight if self._runner is not None else 0
            if reply is not None:
                heard = now
                if reply.permits_out == 0 and not in_flight:
                    return CHILD_GRACE_SECONDS
            elif not in_flight and now - heard > QUEUE_GONE_SECONDS:
                # Nobody knows whether requests run in a child; it does itself, and
                # finishes them on SIGTERM.
                return max(CHILD_GRACE_SECONDS, deadline - now) if in_flight is None else 0.0
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        logger.warning("still busy after %g s of draining", self._spec.drain_timeout_seconds)
        return 0.0


def _secret_for(host: str) -> ClusterSecret | None:
    """What callers of a replica on this address must send; None: nothing.

    Raises:
        StartFailed: other machines can reach it, and there is no secret to tell them by.
    """
    if not is_guarded(host):
        return None
    try:
        secret = ClusterSecret.from_environment()
    except SecretError as error:
        raise StartFailed(f"the cluster's secret: {error}") from error
    if secret is None:
        raise StartFailed(
            f"other machines can reach this node ({host}), and the cluster has no secret to tell "
            f"its own requests from others: set {FILE_VARIABLE} on every node to the path of a "
            "file with one secret a line, the same on all"
        )
    return secret


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
