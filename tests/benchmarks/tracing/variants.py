"""Our cluster, with tracing off and with a share of the requests exported."""

import json
import sys
import urllib.request
from typing import Any, ClassVar

from tests.benchmarks.peers.orchestrator import OrchestratorPeer
from tests.ports import free_port


class TracingOff(OrchestratorPeer):
    """As it is without a collector: no span is made."""

    name = "tracing-off"
    label = "off"
    percent: ClassVar[float | None] = None


class Traced(TracingOff):
    """Exports to a collector on the same machine that throws it all away."""

    percent = 100
    _collector_port = 0

    def launch(self) -> None:
        """The collector first, then the cluster that is to find it."""
        self._collector_port = free_port()
        self.run_child(
            [sys.executable, "-m", "tests.benchmarks.tracing.collector", str(self._collector_port)]
        )
        super().launch()

    def environment(self) -> dict[str, str]:
        """Where the collector is, by the standard's names."""
        return {
            **super().environment(),
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._collector_port}",
        }

    def changes(self) -> dict[str, Any]:
        """The share, in the config."""
        return {"telemetry": {"sampling_percent": self.percent}}

    def trace(self, percent: float | None) -> None:
        """Exports another share of the requests from now on."""
        self.deploy({"telemetry": {"sampling_percent": percent}})

    def stop(self) -> list[int]:
        """Ends all; raises ``PeerError`` if nothing was exported: that cost would be no cost."""
        try:
            exported = self._exported() if self._up else None
        finally:
            killed = super().stop()
        if exported == 0:
            raise self.failure("the collector got nothing")
        return killed

    def _exported(self) -> int:
        url = f"http://127.0.0.1:{self._collector_port}/"
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(json.loads(response.read())["bytes"])


class Traced1(Traced):
    """One in a hundred."""

    name = "tracing-1"
    label = "1 %"
    percent = 1


class Traced10(Traced):
    """One in ten."""

    name = "tracing-10"
    label = "10 %"
    percent = 10


class Traced100(Traced):
    """Every request."""

    name = "tracing-100"
    label = "100 %"
    percent = 100


VARIANTS: tuple[type[TracingOff], ...] = (TracingOff, Traced1, Traced10, Traced100)
