"""The objects that a Prometheus Operator and Grafana's sidecar look for."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.telemetry.monitoring.alerts import rules

SECRET: Final = "orchestrator-metrics"  # noqa: S105  # the name of a secret, not one
SECRET_KEY: Final = "api-key"  # noqa: S105  # the name of its field
DASHBOARD_FILE: Final = "dashboard.json"

_LABELS: Final = {"app.kubernetes.io/name": "orchestrator"}


def pod_monitor() -> dict[str, Any]:
    """Scrapes the head pod: `/metrics` is of the whole system, so one answer is all there is.

    A second pod would tell the same figures again, and every sum would be double.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "orchestrator", "labels": _LABELS},
        "spec": {
            # KubeRay's own labels of the pods that it makes.
            "selector": {
                "matchLabels": {
                    "app.kubernetes.io/name": "kuberay",
                    "ray.io/node-type": "head",
                }
            },
            # The first one carries exemplars.
            "scrapeProtocols": ["OpenMetricsText1.0.0", "PrometheusText0.0.4"],
            "podMetricsEndpoints": [
                {
                    "port": "serve",
                    "path": "/metrics",
                    "interval": "15s",
                    "scrapeTimeout": "5s",
                    "authorization": {
                        "type": "Bearer",
                        "credentials": {"name": SECRET, "key": SECRET_KEY},
                    },
                }
            ],
        },
    }


def prometheus_rule() -> dict[str, Any]:
    """The alerts."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "orchestrator", "labels": _LABELS},
        "spec": rules(),
    }


def kustomization() -> dict[str, Any]:
    """All of the folder; the dashboard as a ConfigMap with the label that the sidecar looks for."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["pod-monitor.yaml", "alerts.yaml"],
        "configMapGenerator": [
            {
                "name": "orchestrator-dashboard",
                "files": [DASHBOARD_FILE],
                "options": {
                    "disableNameSuffixHash": True,
                    "labels": {**_LABELS, "grafana_dashboard": "1"},
                },
            }
        ],
    }
