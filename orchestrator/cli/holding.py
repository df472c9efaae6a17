"""Staying in the foreground for as long as what a command started runs."""

import signal
import threading

import typer

from orchestrator.cli.terminal import FAILED, err, out, refusals
from orchestrator.cluster import local
from orchestrator.cluster.records import ClusterRecord


def hold(record: ClusterRecord) -> None:
    """Stay until Ctrl-C or SIGTERM, then end the cluster or node."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    out.print("Ctrl-C stops it")
    while record.running and not asked.wait(0.2):
        pass
    with refusals():
        if asked.is_set():
            with err.status(f"stopping {record.name} …"):
                local.stop(record.name)
            out.print(f"{record.name}: stopped")
            return
        local.clean_up(record.name)
        err.print(f"{record.name} ended by itself; its log: {local.log_path(record.name)}")
        raise typer.Exit(FAILED)
