"""The Prometheus exposition of everything: text format 0.0.4, or OpenMetrics with exemplars.

prometheus_client writes it. It takes 10 to 20 us a line, so 1,000 environments take
seconds: in a thread, and at most once a second however many ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as WrittenExemplar
from prometheus_client.utils import floatToGoString

from orchestrator.telemetry.metrics import ALL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric as Family

    from orchestrator.observatory.totals import Key, Observed
    from orchestrator.telemetry.instruments import Labels
    from orchestrator.telemetry.metrics import Metric


class Exposition(Collector):
    """All metrics of the list that have a value, in its order.

    It may be written in a thread while the mappings are added to: they are copied
    here, and their values never change.
    """

    def __init__(
        self,
        counters: Mapping[Key, float],
        histograms: Mapping[Key, Observed],
        gauges: Mapping[Key, float],
    ) -> None:
        self._values: dict[str, list[tuple[Labels, float]]] = {}
        for values in (counters, gauges):
            for (name, labels), value in values.items():
                self._values.setdefault(name, []).append((labels, value))
        self._observed: dict[str, list[tuple[Labels, Observed]]] = {}
        for (name, labels), what in histograms.items():
            self._observed.setdefault(name, []).append((labels, what))

    def collect(self) -> Iterator[Family]:
        """The families, as prometheus_client has them."""
        for metric in ALL:
            if metric.name in self._observed:
                yield _histogram(metric, self._observed[metric.name])
            elif metric.name in self._values:
                make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                family = make(metric.name, metric.help, labels=metric.labels)
                for labels, value in sorted(self._values[metric.name]):
                    family.add_metric(labels, value)
                yield family

    def written(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, in the format that an `Accept` header asks for."""
        encode, content_type = _choose(accept)
        return content_type, encode(self)


def format_of(accept: str) -> str:
    """The content type that an `Accept` header leads to."""
    return _choose(accept)[1]


def _choose(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return exposition.choose_encoder(accept)
    except (TypeError, ValueError):
        # A version that is no number: the header says nothing that can be followed.
        return exposition.choose_encoder("")


def _histogram(metric: Metric, series: list[tuple[Labels, Observed]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
    for labels, (counts, total, exemplars) in sorted(series, key=lambda each: each[0]):
        if len(counts) != len(bounds):
            continue  # of a release with other bounds
        buckets: list[tuple[str, float] | tuple[str, float, WrittenExemplar]] = []
        below = 0
        for index, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
            below += count
            named = exemplars.get(index)
            if named is None:
                buckets.append((bound, below))
            else:
                exemplar = WrittenExemplar({"trace_id": named.trace_id}, named.value, named.at)
                buckets.append((bound, below, exemplar))
        family.add_metric(labels, buckets, total)
    return family
