"""What a Prometheus and a Grafana are told of the metrics, made from their list.

`python -m orchestrator.telemetry.monitoring` writes the files of `k8s/monitoring/`
and `docs/metrics.md`. Nobody edits those by hand: a metric that is renamed, or
loses a label, is so in all of them at once, or a test says what was left behind.
"""
