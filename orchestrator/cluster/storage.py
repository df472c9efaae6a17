"""Where a local cluster keeps its asynchronous requests, and checking it before a start.

An embedded store has its data in the cluster's state folder and so outlives the
cluster; its socket lies in the run directory, because paths of sockets are short.
"""

import asyncio
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import fsspec

from orchestrator.cluster import records
from orchestrator.cluster.records import ClusterError
from orchestrator.config.store_address import (
    EMBEDDED,
    EMBEDDED_VARIABLE,
    resolved,
    variable_of,
    without_password,
)
from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import Store
from orchestrator.store.embedded import EmbeddedServer

log = logging.getLogger("orchestrator.cluster")


def data_folder(name: str) -> Path:
    """Where the embedded store of a cluster keeps its data."""
    return records.folder_of(name) / "store"


def results_folder(name: str) -> Path:
    """Where a cluster with an embedded store keeps large results, if not told otherwise."""
    return records.folder_of(name) / "results"


def embedded_server(name: str, run_directory: Path) -> EmbeddedServer:
    """The embedded store of a cluster, not started."""
    return EmbeddedServer(data_folder(name), run_directory / "store.sock")


def store_settings(store: str, name: str, run_directory: Path) -> dict[str, str]:
    """The environment variable that every process of a cluster finds an embedded store by."""
    if store != EMBEDDED:
        return {}
    return {EMBEDDED_VARIABLE: embedded_server(name, run_directory).url}


def require_store(store: str, env: Mapping[str, str]) -> None:
    """Raise ClusterError, naming it without its password, if a store does not answer.

    What about it could lose accepted requests is said in the log.
    """
    if store == EMBEDDED:
        return
    variable = variable_of(store)
    address = resolved(store, env)
    place = without_password(address)
    try:
        concerns = asyncio.run(_concerns(address))
    except StoreUnreachable as error:
        source = f" (from the environment variable {variable})" if variable else ""
        raise ClusterError(
            f"the store at {place}{source} does not answer: {error.cause}; start it or correct "
            f'the address, or set "store: {EMBEDDED}" for a server that the cluster brings along'
        ) from error
    for concern in concerns:
        log.warning("the store at %s: %s", place, concern)


def require_results(url: str) -> None:
    """Raise ClusterError if what reads and writes results at `url` is not installed."""
    if not url:
        return
    scheme = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        hint = "pip install 'orchestrator-serve[s3]'" if scheme == "s3" else str(error)
        raise ClusterError(f"results.url: {scheme}:// needs a library more: {hint}") from error
    except ValueError as error:
        raise ClusterError(f"results.url: nothing here knows {scheme}:// addresses") from error


def discard(name: str) -> None:
    """Delete what a cluster that has ended had accepted, with all results."""
    for folder in (data_folder(name), results_folder(name)):
        shutil.rmtree(folder, ignore_errors=True)


async def _concerns(address: str) -> list[str]:
    store = Store.open(address)
    try:
        await store.ping()
        return await store.concerns()
    finally:
        await store.close()
