"""docs/metrics.md: every metric and every alert, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.telemetry import metrics
from orchestrator.telemetry.monitoring.alerts import ALERTS, Alert
from orchestrator.telemetry.monitoring.expressions import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.telemetry.metrics import Metric

_BEGINNING = """\
# Metrics and alerts

<!-- Written by `python -m orchestrator.telemetry.monitoring`; edits are overwritten. -->

`GET /metrics` tells them of the whole system, whichever router answers: the observatory adds up
what all processes report. Scrape one address of it, not each router. With `auth` on, the key
needs the scope `manage`. Counters and histograms begin at 0 when the observatory is restarted,
as Prometheus expects of a restart.

Labels are names of the config and closed sets; nothing that a caller sends becomes one. Times
are in seconds. Histograms carry exemplars with the `trace_id` of a request whose trace is
exported, for scrapers that ask for OpenMetrics.
"""

_ALERTS = f"""\
# Alerts

Of `k8s/monitoring/alerts.yaml`. They are kept apart by the label `{NAMESPACE}`, which
Prometheus adds in Kubernetes.
"""


def metrics_document() -> str:
    """The whole page."""
    parts = [
        _BEGINNING,
        _table(("metric", "kind", "labels", ""), map(_metric, metrics.ALL)),
        _bounds(),
        _ALERTS.replace("# ", "## ", 1),
        "\n\n".join(map(_alert, ALERTS)),
    ]
    return "\n".join(f"{part.strip()}\n" for part in parts)


def _metric(metric: Metric) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"`{metric.name}`", metric.kind.value, labels or "-", metric.help


def _bounds() -> str:
    """Which histograms have which buckets."""
    lines = []
    for buckets in dict.fromkeys(metric.buckets for metric in metrics.ALL if metric.buckets):
        names = ", ".join(f"`{metric.name}`" for metric in metrics.ALL if metric.buckets == buckets)
        bounds = ", ".join(f"{bound:g}" for bound in buckets)
        lines.append(f"* {names}: {bounds}")
    return "Bounds of the buckets:\n\n" + "\n".join(lines)


def _alert(alert: Alert) -> str:
    return (
        f"### {alert.name}\n\n"
        f"{alert.severity.value}, after {alert.held}. {alert.summary}\n\n"
        f"```promql\n{alert.expression}\n```\n\n"
        f"{alert.runbook}"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
