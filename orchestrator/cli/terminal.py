"""What all commands share: where they print, what they refuse, which cluster they mean."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cluster import local
from orchestrator.cluster.records import ClusterError
from orchestrator.config import ConfigError
from orchestrator.http_client import CallError, ClusterClient

T = TypeVar("T")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

REFUSED = 2
FAILED = 1

_UNBOUNDED_COLUMNS = 10_000

File = Annotated[Path, typer.Argument(help="The YAML file that declares the cluster.")]
Model = Annotated[str, typer.Argument(help="Name of the model.")]
Environment = Annotated[str, typer.Option("--env", help="Environment of the model.")]
Name = Annotated[
    str | None, typer.Option(help="Name of the cluster; may be left out while only one runs.")
]
Url = Annotated[
    str | None, typer.Option(help="Where the cluster listens, if it was not started here.")
]
Limit = Annotated[int, typer.Option(min=1, help="How many of the newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="All of it, as one JSON object.")]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a user can put right into a sentence on standard error and exit status 2."""
    try:
        yield
    except CallError as error:
        err.print(f"error: {error}", style="red", markup=False)
        # The server said no: not the same as not having been asked.
        raise typer.Exit(REFUSED if error.status is None else FAILED) from error
    except (ConfigError, ClusterError) as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(REFUSED) from error


def environment_of(text: str) -> tuple[str, str]:
    """Model and environment that a text means: `MODEL/ENVIRONMENT`, or `MODEL` for production.

    Raises:
        ClusterError: it is neither.
    """
    model, slash, environment = text.partition("/")
    if not model or (slash and not environment) or "/" in environment:
        raise ClusterError(f"{text!r} is no environment: say MODEL/ENVIRONMENT, or MODEL alone")
    return model, environment or "production"


def show_table(table: Table) -> None:
    """Print a table; where no person looks on, as wide as it wants to be."""
    if out.is_terminal:
        out.print(table)
    else:
        Console(highlight=False, width=_UNBOUNDED_COLUMNS).print(table)


def show_json(value: Any) -> None:
    """Print a JSON value for people and programs alike."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def api_key() -> str | None:
    """The key that calls are made with, `prefix.secret`, out of the environment."""
    return os.environ.get("ORCHESTRATOR_API_KEY")


def ask(url: str, question: Callable[[ClusterClient], Awaitable[T]]) -> T:
    """What the cluster at `url` answers to a question that is asked with the caller's key."""

    async def answer() -> T:
        async with ClusterClient(url, api_key()) as client:
            return await question(client)

    return asyncio.run(answer())


def address(name: str | None, url: str | None) -> str:
    """Where the cluster that is meant listens.

    Raises:
        ClusterError: it does not run, or the choice is not clear.
    """
    return url if url is not None else local.select(name).url
