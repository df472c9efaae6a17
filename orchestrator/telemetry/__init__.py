"""What is told about requests: trace context, timelines, metrics, spans, logs.

Nothing here decides about a request. Routers, dispatchers, queues and replicas fill
the records and instruments; `orchestrator.observatory` brings them together.
"""
