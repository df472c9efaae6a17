"""Answers that are made up: they look like the API's."""

import json
import math
import random
import time
from typing import Any

MODELS = ("llama-3-8b", "whisper-large", "embed-small", "rerank", "sdxl", "classify")
STATUSES = ("ACTIVE",) * 14 + ("SCALED_TO_ZERO",) * 4 + ("WAKING_UP", "LOADING_MODEL", "UNHEALTHY")
NEEDS = {"num_cpus": 1.0, "num_gpus": 1.0}


def environment(chance: random.Random, number: int) -> dict[str, Any]:
    """A row of the overview."""
    model = MODELS[number % len(MODELS)]
    if number >= len(MODELS) * 3:
        model = f"{model}-{number // 18:03}"
    environment = ("production", "staging", "development")[number // len(MODELS) % 3]
    status = STATUSES[(number * 11) % len(STATUSES)] if number > 2 else "ACTIVE"
    asleep = status == "SCALED_TO_ZERO"
    busy = status == "ACTIVE"
    rate = chance.lognormvariate(1.5, 1.2) if busy else 0.0
    ready = chance.randint(1, 6) if busy else 0
    past = [wave(chance, rate, at) for at in range(60)]
    starting = status in ("WAKING_UP", "LOADING_MODEL") or (busy and number % 5 == 1)
    missing = status == "WAKING_UP"
    return {
        "model": model,
        "environment": environment,
        "version": 1,
        "status": status,
        "reason": "weights.bin is truncated at byte 4096" if status == "UNHEALTHY" else None,
        "deployment": f"v{number % 9 + 1}",
        "waiting": chance.randint(1, 30) if starting else 0,
        "oldest_wait_s": chance.uniform(0.2, 20) if starting else 0.0,
        "in_flight": chance.randint(0, ready * 8),
        "permits": ready * 6,
        "slots": ready * 8,
        "desired": 0 if asleep else max(ready + (1 if starting else 0), 1),
        "replicas": {"READY": ready, "LOADING": int(starting and not missing)},
        "provisioning": {"count": int(missing), "for_s": 12.0, "needs": NEEDS},
        "requests_per_s": past[-1],
        "error_rate": (0.043 if number % 11 == 4 else 0.002) if number % 3 == 1 and busy else 0.0,
        "p95_s": chance.lognormvariate(-1, 1) if busy else None,
        "cold_starts": number % 4,
        "decision": {
            "at": time.time() - chance.uniform(3, 9000),
            "desired": 0 if asleep else ready,
            "reason": f"{rate / 3:.2f} in flight over 60 s, 5.6 a replica",
        },
        "spark": {
            "requests": past,
            "waiting": [0] * 60,
            "p95": [wave(chance, 0.4, at) if busy else None for at in range(60)],
        },
    }


def wave(chance: random.Random, level: float, at: float) -> float:
    """A value that swings around a level."""
    return max(level * (1 + 0.5 * math.sin(at / 9) + chance.uniform(-0.25, 0.25)), 0.0)


def summary(chance: random.Random, number: int, row: dict[str, Any]) -> dict[str, Any]:
    """A recent request."""
    cold = number % 23 == 5
    retried = number % 17 == 3
    failed = number % 29 == 7
    seconds = chance.lognormvariate(-1.6, 0.9) + (4 if cold else 0)
    return {
        "request_id": f"{number:06x}{chance.getrandbits(64):016x}",
        "kind": "submit" if number % 13 == 0 else "call",
        "source": "r1",
        "trace_id": f"{chance.getrandbits(128):032x}",
        "span_id": f"{number:016x}",
        "began": time.time() - 60 - number * 0.4,
        "seconds": seconds,
        "method": "POST",
        "path": "/v1/chat/completions" if number % 3 else "/environments/production/predict",
        "status": 503 if failed else 200,
        "outcome": "evicted_park_timeout" if failed else "answered",
        "error": "no replica was free within 10 s" if failed else "",
        "model": row["model"],
        "environment": row["environment"],
        "deployment": row["deployment"],
        "key": "ops",
        "bytes_in": 240 + number % 700,
        "bytes_out": 12_400 + number,
        "first_byte_s": seconds * 0.7,
        "chunks": 0,
        "cold_start": cold,
        "kept": "cold_start" if cold else "error" if failed else "",
        "async_id": "",
        "attempts": 2 if retried else 0 if failed else 1,
        "waited_s": 3.84 if cold else seconds * 0.1,
    }


def history(chance: random.Random) -> dict[str, Any]:
    """An environment's last 15 minutes."""
    now = time.time()
    steps = range(180)
    series = {
        "requests": [wave(chance, 70, at) for at in steps],
        "errors": [2.0 if at % 40 == 7 else 0.0 for at in steps],
        "p50": [None if at < 20 else wave(chance, 0.12, at) for at in steps],
        "p95": [None if at < 20 else wave(chance, 0.4, at) for at in steps],
        "in_flight": [round(wave(chance, 9, at)) for at in steps],
        "waiting": [round(max(wave(chance, 3, at) - 3, 0)) for at in steps],
        "ready": [1 if at < 80 else 3 if at < 140 else 2 for at in steps],
        "desired": [1 if at < 70 else 3 if at < 138 else 2 for at in steps],
        "cold": [0 for _ in steps],
    }
    starts = [start(number, now) for number in range(6)]
    return {
        "step_s": 5,
        "end": now,
        "series": series,
        "decisions": [
            decision(now - 550, 1, 3, "9.20 in flight over 60 s, 5.6 a replica"),
            decision(now - 210, 3, 2, "4.10 in flight over 60 s, 5.6 a replica"),
        ],
        "starts": starts,
        "replicas": [replica(number) for number in range(3)],
        "queue": [
            {"class": "sync", "waiting": 4, "in_flight": 13, "oldest_s": 1.31},
            {"class": "async", "waiting": 0, "in_flight": 2, "oldest_s": 0.0},
        ],
    }


def start(number: int, now: float) -> dict[str, Any]:
    """One of the history's starts."""
    failed = number == 2
    stages = {"PROVISIONING": 0.4 + number, "STARTING": 1.3, "LOADING": 3.2 + number * 0.3}
    if not failed:
        stages["WARMING"] = 0.6
    return {
        "replica": f"a1b2c3d{number}",
        "deployment": "v3",
        "at": now - 40 - number * 400,
        "seconds": sum(stages.values()),
        "result": "failed" if failed else "ready",
        "reason": "weights.bin is truncated at byte 4096" if failed else "",
        "stages": stages,
    }


def replica(number: int) -> dict[str, Any]:
    """One of the history's replicas."""
    loading = number == 2
    return {
        "id": f"a1b2c3d{number}",
        "deployment": "v4" if loading else "v3",
        "stage": "LOADING" if loading else "READY",
        "address": None if loading else f"http://10.0.3.{number + 4}:41{number}07",
        "slots": 8,
        "permits": 0 if loading else 6,
        "in_flight": 0 if loading else 5,
        "stages": {"PROVISIONING": 0.5, "STARTING": 1.2}
        | ({} if loading else {"LOADING": 3.4, "WARMING": 0.6}),
        "age_s": 4.2 if loading else 3904.0 + number * 700,
        "suspect": number == 1,
    }


def log() -> str:
    """Lines of a log, as NDJSON."""
    levels = ("info", "info", "error")
    lines = [
        {
            "at": time.time() - 90 + number,
            "replica": "a1b2c3d0",
            "stream": "stderr" if number % 3 == 2 else "stdout",
            "level": levels[number % 3],
            "text": f"step {number}: loss 0.{900 - number}",
            "request_id": "",
            "trace_id": "",
        }
        for number in range(60)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def asynchronous(wanted: str | None) -> list[dict[str, Any]]:
    """Asynchronous requests of a status; None: of any."""
    states = ("QUEUED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "WEBHOOK_FAILED", "CANCELED")
    found = [
        {
            "request_id": f"{number:012x}abc",
            "model_id": MODELS[number % 6],
            "deployment_id": "v1",
            "environment": "production",
            "status": states[number % 6],
            "webhook_status": ("PENDING", "FAILED", "NO_WEBHOOK_PROVIDED")[number % 3],
            "created_at": "2026-07-01T12:00:00.000000Z",
            "status_at": "2026-07-01T12:00:04.000000Z",
            "priority": 1,
            "attempts": 1,
            "queue_position": 3 if number % 6 == 0 else None,
            "errors": [{"code": "MODEL_ERROR", "message": "the model answered 500"}]
            if number % 6 == 3
            else [],
        }
        for number in range(40)
    ]
    return [each for each in found if wanted in (None, each["status"])]


def decision(at: float, before: int, desired: int, reason: str) -> dict[str, Any]:
    """One of the history's decisions."""
    return {"at": at, "before": before, "desired": desired, "reason": reason}


def letter(request_id: str) -> dict[str, Any]:
    """A dead letter as the list shows it."""
    return {
        "request_id": request_id,
        "model_id": "llama-3-8b",
        "environment": "production",
        "webhook_endpoint": "https://hooks.example.com/orchestrator/results",
        "given_up_at": "2026-07-01T12:20:00.000000Z",
        "reason": "the receiver answered 503 to the last of 3 tries",
        "attempts": 3,
    }


SETTINGS = {
    "name": "production",
    "runner": "python",
    "autoscaling": {
        "min_replica": 0,
        "max_replica": 6,
        "concurrency_target": 8,
        "utilization": 0.7,
        "window_s": 60,
        "scale_down_delay_s": 900,
    },
    "queue": {"policy": "queue_on_full", "max_requests": 10_000, "aging_s": 60, "lease_s": 5},
    "timeouts": {"park_s": 1200, "predict_s": 1200, "first_byte_s": None, "chunk_gap_s": None},
    "retry": {"initial_s": 0.5, "factor": 1.5, "max_s": 60, "budget_share": 0.2},
}


def timeline(request_id: str) -> dict[str, Any]:
    """A cold start with one retry, then a webhook that came much later."""
    at = time.time() - 700
    bars = [
        ("request", "router r1", 0, 0, 4.41, "warn", "", {"status": 200}),
        (
            "queue.wait",
            "router r1",
            1,
            0.002,
            3.84,
            "ok",
            "No replica was there.",
            {"reason": "no_replica"},
        ),
        ("replica.start", "replica a1b2c3d0", 2, 0.02, 3.8, "muted", "", {"deployment": "v3"}),
        ("PROVISIONING", "queue", 3, 0.02, 0.4, "ok", "", {}),
        ("STARTING", "replica a1b2c3d0", 3, 0.42, 1.1, "ok", "", {}),
        ("LOADING", "replica a1b2c3d0", 3, 1.52, 2.01, "ok", "", {}),
        ("WARMING", "replica a1b2c3d0", 3, 3.53, 0.29, "ok", "", {}),
        (
            "attempt",
            "replica a1b2c3d0",
            1,
            3.85,
            0.02,
            "error",
            "The connection was refused.",
            {"number": 1},
        ),
        ("attempt", "replica a1b2c3d1", 1, 3.88, 0.53, "ok", "", {"number": 2, "status": 200}),
        ("first byte", "router r1", 2, 4.1, 0, "ok", "", {}),
        ("stream", "router r1", 2, 4.1, 0.31, "ok", "", {"chunks": 120}),
        (
            "webhook.deliver",
            "receiver example.com",
            0,
            5.0,
            0.21,
            "error",
            "It answered 503.",
            {"try": 1},
        ),
        ("webhook.deliver", "receiver example.com", 0, 605.0, 0.18, "ok", "", {"try": 2}),
    ]
    names = ("name", "process", "depth", "at", "seconds", "level", "note", "detail")
    told: list[dict[str, Any]] = [dict(zip(names, bar, strict=True)) for bar in bars]
    for bar in told:
        bar["at"] += at
    return {
        "request_id": request_id,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "kind": "call",
        "state": "ended",
        "status": 200,
        "outcome": "answered",
        "level": "warn",
        "model": "llama-3-8b",
        "environment": "production",
        "deployment": "v3",
        "began": at,
        "seconds": 4.41,
        "summary": "answered 200 in 4.41 s: waited 3.84 s for replica a1b2c3d0 to start "
        "(LOADING 2.01 s), ran 0.53 s in 2 attempts",
        "error": "",
        "place": None,
        "others": 0,
        "async_id": "",
        "axis": [[at, at + 5.3], [at + 605, at + 605.2]],
        "bars": told,
        "facts": [["replica", "a1b2c3d1"], ["key", "ops"], ["in / out", "240 B / 12 kB"]],
        "raw": {"timeline": {"request_id": request_id}},
    }


def letter_in_full(request_id: str) -> dict[str, Any]:
    """The same with its tries."""
    tries = [
        {
            "at": "2026-07-01T12:00:00.000000Z",
            "attempt": number,
            "status": 503 if number < 3 else None,
            "seconds": 0.12,
            "answer": "no room" if number < 3 else "",
            "error": "" if number < 3 else "the connection was refused",
        }
        for number in (1, 2, 3)
    ]
    return {**letter(request_id), "deliveries": tries}
