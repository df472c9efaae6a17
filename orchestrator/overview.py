"""Tables and sentences about a cluster, for the terminal."""

from typing import Any

from rich.table import Table

from orchestrator.config import Config
from orchestrator.http_client import Answer

_STATUS_COLOURS = {
    "ACTIVE": "green",
    "UNHEALTHY": "red",
    "SCALED_TO_ZERO": "dim",
    "WAKING_UP": "yellow",
}

_RESOURCES = {"num_gpus": "GPU", "num_cpus": "CPU"}


def milliseconds(seconds: float) -> str:
    """A duration for people: `0.8 ms`, `41 ms`, `3.21 s`."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


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
    table.add_column("note")
    for found in environments:
        live: dict[str, Any] = found.get("live") or {}
        status = str(found["status"])
        table.add_row(
            f"{found['model']}/{found['name']}",
            f"[{_STATUS_COLOURS.get(status, 'default')}]{status}[/]",
            str(found.get("deployment", "")),
            f"{ready_replicas(live)}/{live.get('desired', '?')}",
            str(live.get("in_use", "?")),
            str(live.get("waiting", "?")),
            milliseconds(live["oldest_wait_s"]) if live.get("oldest_wait_s") else "",
            note(live),
        )
    return table


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
    """One line about a call: status, time, queue, cold start, chunks."""
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
    return ", ".join(parts)
