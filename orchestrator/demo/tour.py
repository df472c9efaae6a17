"""What every step of the tour has: a client, a console, and the cluster's processes."""

from dataclasses import dataclass
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from orchestrator.cluster import local, processes
from orchestrator.cluster.records import ClusterRecord
from orchestrator.http_client import ClusterClient

ECHO, SLEEPER, WORKER, ENVIRONMENT = "echo", "llm", "worker", "production"
MODELS = (ECHO, SLEEPER, WORKER)

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Tour:
    """Where the tour is shown.

    Attributes:
        client: of the cluster.
        console: to print on.
        record: of the cluster.
        plan: what it was started from.
    """

    client: ClusterClient
    console: Console
    record: ClusterRecord
    plan: local.ClusterPlan

    def replica_process(self, deployment: str) -> processes.ProcessId | None:
        """A process of this cluster that is a replica of `application:deployment`.

        Ray names processes so.
        """
        title = f"ray::ServeReplica:{deployment}"
        below = processes.descendants_of(self.record.supervisor)
        for process in sorted(below, key=lambda p: p.pid):
            try:
                command = " ".join(psutil.Process(process.pid).cmdline())
            except psutil.NoSuchProcess:
                continue
            if command.startswith(title):
                return process
        return None

    @property
    def webhook_tries(self) -> int:
        """How often the cluster tries to deliver a webhook before it gives it up."""
        dispatcher = next(
            each for each in self.plan.serve["applications"] if each["name"] == "dispatcher"
        )
        settings: dict[str, Any] = dispatcher["deployments"][0]["user_config"]["webhooks"]
        return 1 + len(settings["schedule_s"])


def table(*columns: str) -> Table:
    """An empty table in the style of the tour."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column)
    return made
