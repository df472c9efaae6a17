"""Tables and sentences about a cluster, for the terminal."""

from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from orchestrator.config import Config
from orchestrator.http_client import Answer
from orchestrator.telemetry.sentences import took

_STATUS_COLOURS = {
    "ACTIVE": "green",
    "UNHEALTHY": "red",
    "SCALED_TO_ZERO": "dim",
    "WAKING_UP": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "EXPIRED": "red",
    "WEBHOOK_FAILED": "red",
}

_RESOURCES = {"num_gpus": "GPU", "num_cpus": "CPU"}


_NO_WEBHOOK = "NO_WEBHOOK_PROVIDED"
_LONGEST_ANSWER = 80


def milliseconds(seconds: float) -> str:
    """A duration for people: `0.8 ms`, `41 ms`, `3.21 s`, `4 min 10 s`."""
    return took(seconds)


def models_table(config: Config) -> Table:
    """What a config declares: one row an environment."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "environment", "runs", "replicas", "slots each", "about"):
        table.add_column(column)
    for name, model in config.models.items():
        for environment, settings in model.environments.items():
            deployment = model.deployments[settings.deployment]
            scaling = settings.autoscaling
            table.add_row(
                name,
                environment,
                settings.deployment,
                f"{scaling.min_replica}-{scaling.max_replica}",
                str(deployment.concurrency),
                model.description or "",
            )
    return table


def environments_table(url: str, environments: list[dict[str, Any]]) -> Table:
    """How the environments are: one row each, of what `ClusterClient.environments` gives.

    `replicas` are those that are ready, of those that are desired.
    """
    table = Table(title=url, title_justify="left", box=None, pad_edge=False)
    for column in ("environment", "status", "runs"):
        table.add_column(column, no_wrap=True)
    for column in ("replicas", "running", "waiting", "oldest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("async", no_wrap=True)
    table.add_column("note")
    for found in environments:
        live: dict[str, Any] = found.get("live") or {}
        status = str(found["status"])
        table.add_row(
            f"{found['model']}/{found['name']}",
            _coloured(status),
            str(found.get("deployment", "")),
            f"{ready_replicas(live)}/{live.get('desired', '?')}",
            str(live.get("in_use", "?")),
            str(live.get("waiting", "?")),
            milliseconds(live["oldest_wait_s"]) if live.get("oldest_wait_s") else "",
            later(found.get("async")),
            escape("; ".join(filter(None, (note(live), dead_letters_note(found.get("async")))))),
        )
    return table


def later(counts: dict[str, Any] | None) -> str:
    """How many asynchronous requests are still to end: `3 queued, 1 running`."""
    if counts is None:
        return "?"
    parts = [(counts["queued"], "queued"), (counts["in_progress"], "running")]
    return ", ".join(f"{number} {what}" for number, what in parts if number)


def dead_letters_note(counts: dict[str, Any] | None) -> str:
    """That webhooks were given up, and where to look; empty where none was."""
    if not counts or not counts["dead_letters"]:
        return ""
    return "webhooks were given up: `orchestrator dead-letters list`"


def ready_replicas(live: dict[str, Any]) -> int:
    """Replicas of an environment that take requests, out of its `live` part."""
    return sum(replica["stage"] == "READY" for replica in live.get("replicas", ()))


def note(live: dict[str, Any]) -> str:
    """What keeps an environment from what it should be; empty where nothing does."""
    notes = []
    if live.get("status") == "UNHEALTHY" and live.get("reason"):
        notes.append(str(live["reason"]))
    missing: dict[str, Any] = live.get("provisioning") or {}
    if missing.get("count"):
        needs = " and ".join(
            f"{amount:g} {_RESOURCES.get(name, name)}"
            for name, amount in missing["needs"].items()
            if amount
        )
        notes.append(
            f"{missing['count']} starting or waiting for {needs}, {milliseconds(missing['for_s'])}"
        )
    stages = [replica["stage"] for replica in live.get("replicas", ())]
    notes += [stage.lower() for stage in stages if stage != "READY"]
    return "; ".join(notes)


def call_summary(answer: Answer, *, stream: bool) -> str:
    """One line about a call: status, time, queue, cold start, chunks, id."""
    parts = [f"{answer.status} in {milliseconds(answer.seconds)}"]
    if answer.waited_seconds >= 0.001:
        parts.append(f"waited {milliseconds(answer.waited_seconds)}")
    if answer.cold_start:
        parts.append("cold start")
    if answer.attempts > 1:
        parts.append(f"{answer.attempts} attempts")
    if stream:
        parts.append(f"first chunk after {milliseconds(answer.first_chunk_seconds)}")
        if answer.gaps_seconds:
            longest = milliseconds(max(answer.gaps_seconds))
            parts.append(f"{len(answer.chunk_seconds)} chunks, longest gap {longest}")
    if answer.request_id:
        parts.append(f"request {answer.request_id}")
    return ", ".join(parts)


def requests_table(requests: list[dict[str, Any]]) -> Table:
    """Asynchronous requests, one row each, as `ClusterClient.async_requests` gives them."""
    table = _table("request", "environment", "status", "webhook", "accepted", "for", "attempts")
    table.add_column("note")
    for found in requests:
        notes = [error["message"] for error in found["errors"]]
        if found["queue_position"] is not None:
            notes.append(f"{found['queue_position']} before it")
        table.add_row(
            found["request_id"],
            f"{found['model_id']}/{found['environment']}",
            _coloured(found["status"]),
            _webhook(found),
            _clock(found["created_at"]),
            milliseconds(_between(found["created_at"], found["status_at"])),
            str(found["attempts"]),
            escape("; ".join(notes)),
        )
    return table


def request_table(found: dict[str, Any]) -> Table:
    """One asynchronous request, a row for each thing that is known of it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    rows = {
        "request": found["request_id"],
        "environment": f"{found['model_id']}/{found['environment']} ({found['deployment_id']})",
        "status": f"{_coloured(found['status'])} since {_clock(found['status_at'])}",
        "accepted": _clock(found["created_at"]),
        "priority": str(found["priority"]),
        "attempts": str(found["attempts"]),
        "before it": found["queue_position"],
        "webhook": _webhook(found),
    }
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, str(value))
    for error in found["errors"]:
        table.add_row(error["code"], escape(error["message"]))
    return table


def request_summary(found: dict[str, Any]) -> str:
    """One line about an asynchronous request that has ended."""
    parts = [found["status"], *(f"{each['code']}: {each['message']}" for each in found["errors"])]
    if found["attempts"] > 1:
        parts.append(f"{found['attempts']} attempts")
    if _webhook(found):
        parts.append(f"webhook {_webhook(found)}")
    return ", ".join(parts)


def deliveries_table(deliveries: list[dict[str, Any]]) -> Table:
    """Where a webhook went, one row a try."""
    table = _table("try", "at", "answer", "took")
    table.add_column("said")
    for line in deliveries:
        said = " ".join((line["answer"] or line["error"]).split())
        table.add_row(
            str(line["attempt"]),
            _clock(line["at"]),
            "none" if line["status"] is None else str(line["status"]),
            milliseconds(line["seconds"]),
            escape(said[:_LONGEST_ANSWER]),
        )
    return table


def dead_letters_table(letters: list[dict[str, Any]]) -> Table:
    """Webhooks that were given up, one row each."""
    table = _table("request", "environment", "given up", "tries")
    for column in ("receiver", "reason"):
        table.add_column(column)
    for letter in letters:
        table.add_row(
            letter["request_id"],
            f"{letter['model_id']}/{letter['environment']}",
            _clock(letter["given_up_at"]),
            str(letter["attempts"]),
            escape(letter["webhook_endpoint"]),
            escape(letter["reason"]),
        )
    return table


def secrets_table(keys: list[dict[str, Any]]) -> Table:
    """The keys that webhooks are signed with, one row each."""
    table = _table("secret", "made", "used until")
    for key in keys:
        until = _clock(key["expires_at"]) if key["expires_at"] else ""
        table.add_row(key["id"], _clock(key["created_at"]), until)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _coloured(status: str) -> str:
    return f"[{_STATUS_COLOURS.get(status, 'default')}]{status}[/]"


def _webhook(found: dict[str, Any]) -> str:
    """What became of a request's webhook; empty where it has none."""
    status: str = found["webhook_status"]
    return "" if status == _NO_WEBHOOK else status


def _clock(timestamp: str) -> str:
    """A time of the API in local time: `11-23 14:02:07`."""
    return _parsed(timestamp).astimezone().strftime("%m-%d %H:%M:%S")


def _between(earlier: str, later: str) -> float:
    return (_parsed(later) - _parsed(earlier)).total_seconds()


def _parsed(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp).astimezone(UTC)
