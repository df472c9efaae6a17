"""The Grafana dashboard: every metric of the list, in rows from what callers see downwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.telemetry import metrics
from orchestrator.telemetry.monitoring.expressions import NAMESPACE, Promql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.telemetry.metrics import Metric

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_ACROSS: Final = 3
_WIDTH: Final = 24 // _ACROSS
_HEIGHT: Final = 8
_QUANTILES: Final = (0.5, 0.95, 0.99)

SECONDS: Final = "s"
PER_SECOND: Final = "reqps"
COUNT: Final = "short"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called; `exemplars`: with traces to go to."""

    expression: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart over time."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a heading."""

    title: str
    panels: tuple[Panel, ...]


def _selected(metric: Metric) -> str:
    names = [NAMESPACE, *(name for name in ("model", "environment") if name in metric.labels)]
    return ",".join(f'{name}=~"${name}"' for name in names)


_QL: Final = Promql("$__rate_interval", selector=_selected)


def _rates(title: str, metric: Metric, *by: str, unit: str = PER_SECOND) -> Panel:
    """A counter, stacked by labels."""
    query = Query(_QL.rate(metric, *by), _legend(by))
    return Panel(title, metric.help, unit, (query,), stacked=bool(by))


def _levels(title: str, metric: Metric, *by: str, unit: str = COUNT) -> Panel:
    """A gauge, stacked by labels."""
    query = Query(_QL.now(metric, *by), _legend(by))
    return Panel(title, metric.help, unit, (query,), stacked=bool(by))


def _quantiles(title: str, metric: Metric, *by: str) -> Panel:
    """A histogram: half, most and nearly all; by a label: only most."""
    shares = (0.95,) if by else _QUANTILES
    queries = tuple(
        Query(
            _QL.quantile(share, metric, *by),
            _legend(by) if by else f"p{100 * share:g}",
            exemplars=True,
        )
        for share in shares
    )
    return Panel(f"{title}, p95" if by else title, metric.help, SECONDS, queries)


def _legend(by: Sequence[str]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by) or "all"


_OLDEST: Final = Panel(
    "First in line has waited",
    metrics.OLDEST_WAIT.help,
    SECONDS,
    (
        Query(
            f"max by (model, environment) ({metrics.OLDEST_WAIT.name}"
            f"{{{_selected(metrics.OLDEST_WAIT)}}})",
            _legend(("model", "environment")),
        ),
    ),
)

_REPLICAS: Final = Panel(
    "Replicas by stage, and desired",
    f"{metrics.REPLICAS.help} {metrics.DESIRED.help}",
    COUNT,
    (
        Query(_QL.now(metrics.REPLICAS, "stage"), "{{stage}}"),
        Query(_QL.now(metrics.DESIRED), "desired"),
    ),
)

_CAPACITY: Final = Panel(
    "In flight, and slots",
    f"{metrics.IN_FLIGHT.help} {metrics.SLOTS.help}",
    COUNT,
    (
        Query(_QL.now(metrics.IN_FLIGHT, "class"), "{{class}}"),
        Query(_QL.now(metrics.SLOTS), "slots"),
    ),
)

ROWS: Final = (
    Row(
        "Requests",
        (
            _rates("Requests by outcome", metrics.REQUESTS, "outcome"),
            _quantiles("Total time", metrics.REQUEST_SECONDS),
            _quantiles("Attempt", metrics.ATTEMPT_SECONDS),
            _quantiles("Wait in the queue", metrics.QUEUE_WAIT_SECONDS),
            _rates("Retries by reason", metrics.RETRIES, "reason"),
            _rates("Turned away for lack of room", metrics.SHED, "reason"),
            _rates("Cold requests", metrics.COLD_STARTS),
            _rates("Ended before their environment was found", metrics.REJECTED, "outcome"),
            _levels("Environments that cannot start", metrics.UNHEALTHY, "model", "environment"),
        ),
    ),
    Row(
        "Streams",
        (
            _quantiles("Time to first byte", metrics.FIRST_BYTE_SECONDS),
            _quantiles("Gap between chunks", metrics.CHUNK_GAP_SECONDS),
        ),
    ),
    Row(
        "Queue and replicas",
        (
            _levels("Waiting", metrics.WAITING, "class"),
            _OLDEST,
            _CAPACITY,
            _REPLICAS,
            _levels("Permits", metrics.PERMITS, "state"),
            _rates("Decisions to scale", metrics.DECISIONS, "direction", unit="ops"),
            _rates("Starts of replicas", metrics.STARTS, "result", unit="ops"),
            _quantiles("Stages of starts", metrics.START_STAGE_SECONDS, "stage"),
        ),
    ),
    Row(
        "Asynchronous requests",
        (
            _rates("Accepted", metrics.ASYNC_SUBMITTED),
            _rates("Runs by code", metrics.ASYNC_RUNS, "code"),
            _rates("Webhooks", metrics.WEBHOOKS, "outcome"),
            _quantiles("Webhook", metrics.WEBHOOK_SECONDS),
        ),
    ),
    Row(
        "The system",
        (
            _levels("Processes", metrics.PROCESSES, "part"),
            _levels("Versions", metrics.BUILD_INFO, "version"),
            _quantiles("Event loops' lag", metrics.LOOP_LAG_SECONDS, "part"),
            _quantiles("Calls to the store", metrics.STORE_SECONDS, "part"),
            _quantiles("Calls to the store by operation", metrics.STORE_SECONDS, "operation"),
            _rates("Calls to the store without an answer", metrics.STORE_ERRORS, "part"),
            _rates("Spans", metrics.SPANS, "part", "result", unit="ops"),
            _rates("Timelines lost", metrics.TIMELINES_LOST, "part", unit="ops"),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "orchestrator",
        "title": "Orchestrator",
        "description": "Requests, queues, replicas and the system's own processes.",
        "tags": ["orchestrator"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": _variables()},
        "panels": _placed(ROWS),
    }


def _variables() -> list[dict[str, Any]]:
    """Which Prometheus, then which cluster, model and environment; several, or all."""
    labels = {NAMESPACE: "", "model": '{namespace=~"$namespace"}'}
    labels["environment"] = '{namespace=~"$namespace",model=~"$model"}'
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }
    return [
        source,
        *(
            {
                "name": name,
                "label": name.capitalize(),
                "type": "query",
                "datasource": _DATASOURCE,
                "query": f"label_values({metrics.DESIRED.name}{selector}, {name})",
                "includeAll": True,
                # Fits series without the label too: a scrape outside Kubernetes adds none.
                "allValue": ".*",
                "current": {"text": "All", "value": "$__all"},
                "multi": True,
                "refresh": 2,
                "sort": 1,
            }
            for name, selector in labels.items()
        ),
    ]


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Panels left to right below their headings, each with a number and a place."""
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        placed.append(
            {"id": len(placed) + 1, "type": "row", "title": row.title, "gridPos": place}
            | {"collapsed": False, "panels": []}
        )
        top += 1
        for number, panel in enumerate(row.panels):
            down, across = divmod(number, _ACROSS)
            place = {"x": across * _WIDTH, "y": top + down * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            placed.append({"id": len(placed) + 1, **_drawn(panel), "gridPos": place})
        top += -(-len(row.panels) // _ACROSS) * _HEIGHT
    return placed


def _drawn(panel: Panel) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.stacked else "none"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {
                    "fillOpacity": 20 if panel.stacked else 0,
                    "showPoints": "never",
                    "stacking": stacking,
                },
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
                "exemplar": query.exemplars,
            }
            for number, query in enumerate(panel.queries)
        ],
    }
