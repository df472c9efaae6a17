"""Which format a trace has, and its requests, read as that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.config.problems import listed
from orchestrator.traffic import recorded, request_log, servegen, tables
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import suffix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.traffic.rows import Rows
    from orchestrator.traffic.settings import Columns, Format, Trace, Unit
    from orchestrator.traffic.survey import Suspicion

_JSON: Final = (".json", ".jsonl", ".ndjson")

_TABLES: Final[dict[Format, tuple[Columns, Unit]]] = {
    "azure_llm": (recorded.AZURE, "iso"),
    "mooncake": (recorded.MOONCAKE, "milliseconds"),
}
"""Formats that are tables with columns of known meaning."""

_COLUMNS: Final[dict[Format, frozenset[str]]] = {
    **{name: recorded.names(columns) for name, (columns, _) in _TABLES.items()},
    "servegen": frozenset(servegen.COLUMNS),
    "request_log": request_log.COLUMNS,
}
"""The columns by which a format is known."""


def told(file: str, trace: Trace) -> Format:
    """The format of a file: as the experiment says, or as its columns tell.

    Raises:
        TrafficError: they tell nothing, it cannot be read, or the experiment asks of it
            what the format does not have.
    """
    kind = trace.format if trace.format != "auto" else _guessed(file, trace)
    for name, given, formats in (
        ("client", trace.client is not None, ["servegen"]),
        ("unit", trace.unit is not None, ["table"]),
        ("environment", trace.environment is not None, ["table", "request_log"]),
    ):
        if given and kind not in formats:
            what = f"is read as {kind}, of which no {name} can be given"
            raise TrafficError(file, None, what, f"format: {' or '.join(formats)}, or no {name}")
    return kind


def read(file: str, trace: Trace, suspicions: list[Suspicion]) -> Iterator[Rows]:
    """The requests of a recorded trace (all formats but servegen), in order.

    Raises:
        TrafficError: something in it is wrong.
    """
    kind = told(file, trace)
    if kind == "request_log":
        logged = request_log.read(file, suspicions)
        wanted = trace.environment
        return logged if wanted is None else recorded.only(logged, wanted, file)
    if kind in _TABLES:
        columns, unit = _TABLES[kind]
        return recorded.read(file, columns, unit, trace, suspicions)
    if trace.columns is None:
        raise AssertionError("a table has columns: validation sees to it")
    return recorded.read(file, trace.columns, trace.unit, trace, suspicions)


def _guessed(file: str, trace: Trace) -> Format:
    if trace.columns is not None:
        return "table"
    if servegen.is_folder(file) or servegen.is_chunk(file):
        return "servegen"
    if suffix(file) in _JSON and request_log.is_document(file):
        return "request_log"
    there = tables.names(file)
    for name, columns in _COLUMNS.items():
        if columns.issubset(there):
            return name
    what = f"is of no format that is known by its columns: {listed(there)}"
    raise TrafficError(file, None, what, "columns: {at: ...} beside file, to say what they mean")
