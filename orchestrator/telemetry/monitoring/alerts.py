"""When somebody is to be told, and what they then do.

Alerts are about what callers notice, or soon will. Thresholds are for a cluster
that answers people; whoever runs batches raises them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.request import Outcome
from orchestrator.lifecycle.retry import Failure
from orchestrator.lifecycle.webhook import Verdict
from orchestrator.telemetry import metrics
from orchestrator.telemetry.monitoring.expressions import NAMESPACE, Promql


class Severity(StrEnum):
    """How soon."""

    CRITICAL = "critical"
    """Now: callers are turned away."""

    WARNING = "warning"
    """Today."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: in camel case, as Prometheus' own are.
        severity: how soon somebody is to look.
        expression: PromQL; the alert is on while it gives series.
        held: for how long it must, e.g. `5m`.
        summary: what is wrong, one line; a template of Prometheus'.
        runbook: what to do about it, sentences.
    """

    name: str
    severity: Severity
    expression: str
    held: str
    summary: str
    runbook: str


FAILURES: Final = (
    Outcome.REJECTED_QUEUE_UNREACHABLE,
    Outcome.REJECTED_STORE_UNREACHABLE,
    Outcome.EVICTED_PARK_TIMEOUT,
    Outcome.EVICTED_UNHEALTHY,
    Outcome.FAILED_REPLICA_LOST,
    Outcome.FAILED_TIMEOUT,
    Outcome.FAILED_INTERNAL,
)
"""Outcomes that are the system's fault or the model's, not the caller's."""

_GIVEN_UP: Final = f'outcome="{Verdict.STOP.value}"'
_NOT_DELIVERED: Final = f'outcome!="{Verdict.DELIVERED.value}"'
_FAILURES: Final = f'outcome=~"{"|".join(FAILURES)}"'
_BROKEN: Final = f'reason=~"{"|".join(Failure)}"'
_FAILED_RUNS: Final = f'code=~"{"|".join(code for code in ErrorCode if code.retried)}"'
_DISPATCHERS: Final = 'part="dispatcher"'
_READY: Final = f'stage="{Stage.READY.value}"'
_FAILED: Final = 'result="failed"'
_NOT_EXPORTED: Final = 'result!="exported"'

_SYSTEM: Final = Promql("5m", by=(NAMESPACE,))
_ENVIRONMENT: Final = Promql("5m", by=(NAMESPACE, "model", "environment"))
_ENVIRONMENT_LONG: Final = Promql("15m", by=(NAMESPACE, "model", "environment"))

_WHERE: Final = "{{ $labels.model }}/{{ $labels.environment }}"
_OF: Final = "{{ $value | humanizePercentage }}"
_SECONDS: Final = "{{ $value | humanizeDuration }}"


def _share(part: str, whole: str, above: float) -> str:
    """Where `part` is more than a share of `whole`; a whole of 0 is no share at all."""
    return f"{part} / ({whole} > 0) > {above:g}"


ALERTS: Final = (
    Alert(
        "OrchestratorSilent",
        Severity.CRITICAL,
        f"absent({metrics.BUILD_INFO.name})",
        "5m",
        "No metrics of any orchestrator for 5 minutes.",
        "Ask a router's /healthz. If it answers, ask /metrics with the key of the PodMonitor's"
        " secret: 401 or 403 is the key (scope manage), 503 is the observatory, which Ray Serve"
        " restarts; see its application's status. If nothing answers, see the head pod.",
    ),
    Alert(
        "OrchestratorNoDispatcher",
        Severity.CRITICAL,
        f"{_SYSTEM.now(metrics.BUILD_INFO)} unless"
        f" ({_SYSTEM.now(metrics.PROCESSES, where=_DISPATCHERS)} > 0)",
        "5m",
        "No dispatcher reports: asynchronous requests are accepted and not run.",
        "See the status of the application `dispatcher` in `serve status` and its log. Nothing"
        " that was accepted is lost; it runs when a dispatcher is back.",
    ),
    Alert(
        "OrchestratorUnhealthy",
        Severity.CRITICAL,
        f"{_ENVIRONMENT.now(metrics.UNHEALTHY)} > 0",
        "1m",
        f"{_WHERE} cannot start a replica and answers 503.",
        "`orchestrator status` names the reason, `orchestrator logs` shows the last lines of the"
        " start that failed. Deploy what worked before, or mend the deployment and deploy it;"
        " `orchestrator wake` tries again at once.",
    ),
    Alert(
        "OrchestratorFailures",
        Severity.CRITICAL,
        _share(
            _ENVIRONMENT.rate(metrics.REQUESTS, where=_FAILURES),
            _ENVIRONMENT.rate(metrics.REQUESTS),
            0.05,
        ),
        "5m",
        f"{_OF} of the requests to {_WHERE} fail.",
        "`orchestrator requests --errors --since 15m` lists them, `orchestrator trace` shows where"
        " one of them broke. failed_replica_lost: see the replicas' logs; evicted_park_timeout:"
        " raise max_replica; failed_timeout: the model is too slow or stuck.",
    ),
    Alert(
        "OrchestratorSheds",
        Severity.WARNING,
        _share(
            _ENVIRONMENT.rate(metrics.SHED),
            _ENVIRONMENT.rate(metrics.REQUESTS),
            0.01,
        ),
        "10m",
        f"{_OF} of the requests to {_WHERE} are turned away for lack of room.",
        "The queue is full, or the environment does not queue. See whether as many replicas are"
        " ready as are desired; if they are, raise max_replica or concurrency, else find out what"
        " they wait for (`orchestrator status`).",
    ),
    Alert(
        "OrchestratorLongWait",
        Severity.WARNING,
        f"max by ({NAMESPACE}, model, environment) ({metrics.OLDEST_WAIT.name}) > 300",
        "2m",
        f"The first in line for {_WHERE} has waited for {_SECONDS}.",
        "It waits for a start that does not come or for slots that are taken. `orchestrator top`"
        " shows which; the environment's page shows the start's stages. PROVISIONING means that the"
        " machines lack room for the replica.",
    ),
    Alert(
        "OrchestratorReplicasMissing",
        Severity.WARNING,
        f"{_ENVIRONMENT.now(metrics.DESIRED)} - "
        f"({_ENVIRONMENT.now(metrics.REPLICAS, where=_READY)}"
        f" or 0 * {_ENVIRONMENT.now(metrics.DESIRED)}) > 0",
        "20m",
        f"{_WHERE} has {{{{ $value }}}} replicas less than it wants.",
        "`orchestrator status` says what they wait for. Add machines that have it, lower"
        " max_replica, or ask for less in `resources`.",
    ),
    Alert(
        "OrchestratorStartsFail",
        Severity.WARNING,
        f"{_ENVIRONMENT_LONG.increase(metrics.STARTS, where=_FAILED)} > 2",
        "0m",
        f"Starts of replicas of {_WHERE} fail again and again.",
        "`orchestrator logs` shows the last lines of the start that failed. While another"
        " deployment or replica still serves, callers do not notice.",
    ),
    Alert(
        "OrchestratorRetries",
        Severity.WARNING,
        _share(
            _ENVIRONMENT.rate(metrics.RETRIES, where=_BROKEN),
            _ENVIRONMENT.rate(metrics.REQUESTS),
            0.1,
        ),
        "10m",
        f"{_OF} of the requests to {_WHERE} are tried again.",
        "Replicas die or answer 502 to 504, and callers pay with latency. `orchestrator requests"
        " --retried` lists such requests; the attempts of one name the replica and what it did.",
    ),
    Alert(
        "OrchestratorAsyncRunsFail",
        Severity.WARNING,
        _share(
            _ENVIRONMENT_LONG.rate(metrics.ASYNC_RUNS, where=_FAILED_RUNS),
            _ENVIRONMENT_LONG.rate(metrics.ASYNC_RUNS),
            0.2,
        ),
        "15m",
        f"{_OF} of the runs of asynchronous requests of {_WHERE} fail.",
        "`orchestrator requests list --status FAILED` and `orchestrator trace` show the code and"
        " the message of each run.",
    ),
    Alert(
        "OrchestratorWebhooksFail",
        Severity.WARNING,
        _share(
            _ENVIRONMENT_LONG.rate(metrics.WEBHOOKS, where=_NOT_DELIVERED),
            _ENVIRONMENT_LONG.rate(metrics.WEBHOOKS),
            0.5,
        ),
        "15m",
        f"{_OF} of the tries to deliver webhooks of {_WHERE} fail.",
        "`orchestrator requests show` names what a receiver answered. Tries go on for a day;"
        " then `orchestrator dead-letters replay` sends them again.",
    ),
    Alert(
        "OrchestratorWebhooksUnwanted",
        Severity.WARNING,
        f"{_ENVIRONMENT_LONG.increase(metrics.WEBHOOKS, where=_GIVEN_UP)} > 10",
        "0m",
        f"Receivers of webhooks of {_WHERE} want none (4xx).",
        "The address or the signing key is wrong, as a rule. They are not tried again:"
        " `orchestrator dead-letters list` names them, `replay` sends them once that is mended.",
    ),
    Alert(
        "OrchestratorStoreDown",
        Severity.CRITICAL,
        f"{_SYSTEM.rate(metrics.STORE_ERRORS)} > 0.1",
        "2m",
        "The store does not answer: asynchronous requests are neither accepted nor run.",
        "See the server of ORCHESTRATOR_STORE_URL (or of `store: embedded`). Synchronous requests"
        " go on; dispatchers take up where they were once it is back.",
    ),
    Alert(
        "OrchestratorStoreSlow",
        Severity.WARNING,
        f"{_SYSTEM.quantile(0.99, metrics.STORE_SECONDS, 'part')} > 0.1",
        "10m",
        f"A call to the store takes the {{{{ $labels.part }}}} {_SECONDS} (p99).",
        "A write waits for the server's disk where its append-only file is synced: see the disk's"
        " latency, and the server's slow log.",
    ),
    Alert(
        "OrchestratorLoopLag",
        Severity.WARNING,
        f"{_SYSTEM.quantile(0.99, metrics.LOOP_LAG_SECONDS, 'part')} > 0.1",
        "10m",
        f"Event loops of the {{{{ $labels.part }}}} processes are {_SECONDS} late (p99).",
        "The process has too little processor: add cores, or routers (`router.replicas`). In a"
        " replica it is the model that blocks the loop: make its predict a plain function, which"
        " runs in a thread.",
    ),
    Alert(
        "OrchestratorSpansLost",
        Severity.WARNING,
        f"{_SYSTEM.rate(metrics.SPANS, 'part', where=_NOT_EXPORTED)} > 1",
        "15m",
        "Spans of the {{ $labels.part }} processes do not reach the collector.",
        "failed: the collector of OTEL_EXPORTER_OTLP_ENDPOINT refuses them or is away. dropped: it"
        " is too slow, or OTEL_BSP_MAX_QUEUE_SIZE too small for the share that is sampled."
        " Requests are not affected.",
    ),
    Alert(
        "OrchestratorTimelinesLost",
        Severity.WARNING,
        f"{_SYSTEM.increase(metrics.TIMELINES_LOST)} > 100",
        "0m",
        "Timelines of failed, retried or slow requests could not be kept.",
        "The store was away or slow for longer than the routers' memory lasts; the most recent"
        " ones are still in the routers' rings. See OrchestratorStoreDown.",
    ),
)


def rules() -> dict[str, Any]:
    """The groups of a rule file of Prometheus'."""
    return {
        "groups": [
            {
                "name": "orchestrator",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expression,
                        "for": alert.held,
                        "labels": {"severity": alert.severity.value},
                        "annotations": {"summary": alert.summary, "runbook": alert.runbook},
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
