"""A real observatory in this process, clocks that stand still, and sources that speak to it."""

from __future__ import annotations

from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.observatory.hub import ObservatoryHub
from orchestrator.observatory.protocol import (
    Ack,
    ObservatoryUnavailable,
    Part,
    Push,
    Query,
    Source,
    encoded,
)
from orchestrator.telemetry.instruments import Batch
from orchestrator.telemetry.metrics import BY_NAME

ROUTER = Source("router/1", Part.ROUTER, version="1.2.3")
NAMES = ("echo", "production")


def queue(name: str = "q1", model: str = "echo", environment: str = "production") -> Source:
    return Source(name, Part.QUEUE, model, environment)


def replica(name: str, model: str = "echo", environment: str = "production") -> Source:
    return Source(f"source of {name}", Part.REPLICA, model, environment, name)


class World:
    """Attributes: `now`, `wall`: what the clocks say."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_700_000_000.0
        self.hub = ObservatoryHub("9.9", clock=lambda: self.now, wall=lambda: self.wall)
        self.seqs: dict[str, int] = {}

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds
        self.hub.tick()

    async def tell(
        self,
        source: Source,
        batch: Batch | None = None,
        *,
        seq: int | None = None,
        within_s: float = 5.0,
        live: Any = None,
        **sections: Any,
    ) -> Ack:
        """One push of a source; `seq`: the next one, unless it is said."""
        self.seqs[source.id] = seq or self.seqs.get(source.id, 0) + 1
        if live is not None:
            sections["live"] = live
        state = {name: msgspec.msgpack.encode(what) for name, what in sections.items()}
        push = Push(source, self.seqs[source.id], within_s, encoded(batch or Batch()), state=state)
        return await self.hub.push(msgspec.msgpack.encode(push))

    async def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's samples by the values of their labels, as Prometheus reads them."""
        self.hub._exposed.clear()  # it would stand for a second
        _, text = await self.hub.metrics("text/plain")
        metric = BY_NAME[name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")]
        return {
            tuple(
                sample.labels[each] for each in (*metric.labels, "le") if each in sample.labels
            ): (sample.value)
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == name
        }

    async def rows(self, since: int = 0) -> dict[str, dict[str, Any]]:
        found = await self.hub.overview(since)
        return {f"{r.model}/{r.environment}": msgspec.json.decode(r.data) for r in found.rows}


class Unreliable:
    """A way to a hub on which calls, or their answers, are lost.

    Attributes:
        losing: `call`, `answer`, or nothing.
        pushes: messages that were sent.
    """

    def __init__(self, hub: ObservatoryHub) -> None:
        self.hub = hub
        self.losing = ""
        self.pushes: list[bytes] = []

    async def push(self, message: bytes) -> Ack:
        self.pushes.append(message)
        if self.losing == "call":
            raise ObservatoryUnavailable("lost")
        ack = await self.hub.push(message)
        if self.losing == "answer":
            raise ObservatoryUnavailable("lost")
        return ack

    async def watch(self, source_id: str) -> list[Query]:
        return await self.hub.watch(source_id)

    async def answer(self, source_id: str, query_id: int, payload: bytes | None) -> None:
        await self.hub.answer(source_id, query_id, payload)
