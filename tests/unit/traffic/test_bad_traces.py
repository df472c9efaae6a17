"""Traces that are not what the experiment says: each error has its place and what would be right."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.traffic import files, parquet_table, recorded
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.traffic.conftest import Reading, Refusing, Writing

AT = {"at": "t"}
ALL = {
    "at": "t",
    "prompt_tokens": "p",
    "service_seconds": "s",
    "asynchronous": "a",
}


@pytest.fixture
async def aiohttp_refusal() -> AsyncIterator[str]:
    """Address of a server that answers 403."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403)

    app = web.Application()
    app.router.add_get("/t.csv", refuse)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


def test_a_trace_with_a_missing_column_says_which_and_what_is_there(
    refusing: Refusing, write: Writing
) -> None:
    path = write("t.csv", "time,tokens\n1,2\n")
    error = refusing({"trace": {"file": "t.csv", "columns": {"at": "times"}}})
    assert str(error) == (
        f'{path}: has no column "times", did you mean "time"?; it has "time", "tokens"; '
        "expected columns that are there"
    )
    assert (error.file, error.row) == (str(path), None)


@pytest.mark.parametrize(
    ("text", "row", "parts"),
    [
        ("t\n1\n5\n3\n", 4, ('t is "3", which is 2 s before the row above it, "5"', "sort: true")),
        ("t\n1\n\n\n0.5\n", 5, ('t is "0.5", which is 0.5 s before', "sort: true")),
        ("t\n1\n-2\n", 3, ('t is "-2"', "seconds, a number of at least 0")),
        ("t\n1\nnan\n", 3, ('t is "nan"', "a number of at least 0")),
        ("t\n1\ninf\n", 3, ('t is "inf"', "a number of at least 0")),
        ("t\n1\nsoon\n", 3, ('t is "soon"', "a number of at least 0")),
        ("t,p\n1,2\n,2\n", 3, ("t is empty", "a number of at least 0")),
        (
            "t\n2026-01-01 00:00:00\n2026-01-32 00:00:00\n",
            3,
            ('t is "2026-01-32', "a date and time"),
        ),
        ("t\n2026-01-01 00:00:00\nnow\n", 3, ('t is "now"', "a date and time")),
        ("t\n2026-01-01 00:00:00\n9999-01-01\n", 3, ('t is "9999-01-01"', "a date and time")),
        ("t\n2026-01-01 00:00:00\n2026-01-02 00:00:00 CET\n", 3, ("CET", "a date and time")),
        (
            "t\n2026-01-01 00:00:00\n2026-01-01 00:00:01\n2026-01-01 02:00:02+02:00\n",
            4,
            ("t has dates with a time zone and without", "a date and time"),
        ),
        (
            "t\n2026-01-01 00:00:00Z\n2026-01-01 00:00:01\n",
            3,
            ("t has dates with a time zone and without", "a date and time"),
        ),
        ("t\n2026-01-01 00:00:00\n2025-12-31 23:59:59\n", 3, ("1 s before", "sort: true")),
    ],
)
def test_a_time_that_cannot_be_is_shown_with_its_row(
    refusing: Refusing, write: Writing, text: str, row: int, parts: tuple[str, str]
) -> None:
    write("t.csv", text)
    error = refusing({"trace": {"file": "t.csv", "columns": AT}})
    assert error.row == row
    assert parts[0] in error.what
    assert parts[1] in error.expected


@pytest.mark.parametrize(
    ("row", "what", "expected"),
    [
        ("2,-1,,", 'p is "-1"', "a whole number of at least 0"),
        ("2,1.5,,", 'p is "1.5"', "a whole number of at least 0"),
        ("2,many,,", 'p is "many"', "a whole number of at least 0"),
        ("2,nan,,", 'p is "nan"', "a whole number of at least 0"),
        ("2,1e30,,", 'p is "1e30"', "a whole number of at least 0"),
        ("2,1,-0.5,", 's is "-0.5"', "a number of seconds of at least 0"),
        ("2,1,NaN,", 's is "NaN"', "a number of seconds of at least 0"),
        ("2,1,1,maybe", 'a is "maybe"', "true or false"),
    ],
)
def test_a_value_that_cannot_be_is_shown_with_its_row(
    refusing: Refusing, write: Writing, row: str, what: str, expected: str
) -> None:
    write("t.csv", f"t,p,s,a\n1,1,1,1\n{row}\n3,,,\n")
    error = refusing({"trace": {"file": "t.csv", "columns": ALL}})
    assert error.row == 3
    assert error.what == what
    assert error.expected.startswith(expected)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"t": true}', "t is true"),
        ('{"t": [1]}', "t is a list of 1"),
        ('{"t": {"x": 1}}', "t is a mapping with x"),
        ("{}", "t is empty"),
        ('{"t": 1', "is broken JSON"),
        ("[1]", "is a JSON list"),
        ("1,2", "is no JSON object"),
    ],
)
def test_a_bad_json_line_is_shown_with_its_row(
    refusing: Refusing, write: Writing, line: str, what: str
) -> None:
    write("t.jsonl", f'{{"t": 1}}\n\n{line}\n{{"t": 9}}\n')
    error = refusing({"trace": {"file": "t.jsonl", "columns": AT}})
    assert error.row == 3
    assert error.what.startswith(what)


def test_an_error_far_into_a_long_trace_has_its_row(refusing: Refusing, write: Writing) -> None:
    rows = [str(at) for at in range(50_000)]
    rows[39_998] = "x"
    write("t.csv", "t\n" + "\n".join(rows))
    assert refusing({"trace": {"file": "t.csv", "columns": AT}}).row == 40_000


def test_an_unordered_row_is_found_over_the_border_of_pieces(
    refusing: Refusing, write: Writing
) -> None:
    rows = [*range(8192), 5, 6, 9000]
    write("t.csv", "t\n" + "\n".join(map(str, rows)))
    error = refusing({"trace": {"file": "t.csv", "columns": AT}})
    assert error.row == 8194
    assert 't is "5", which is 8186 s before the row above it' in error.what


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "\n\n", "is empty"),
        ("t.csv", "t,p\n", "has no rows"),
        ("t.jsonl", "", "is empty"),
        ("t.jsonl", "\n  \n", "is empty"),
        ("t.csv", '{"t": 1}\n', "begins with JSON"),
        ("t.csv", "t,p\n1,2\n3\n", 'has 1 column: "3"'),
        ("t.csv", "t,p\n1,2\n3,4,5\n", 'has 3 columns: "3,4,5"'),
        ("t.csv", 't,p\n1,2\n{"t": 3}\n', "has a JSON object"),
        ("t.csv", "t;p\n1;2\n", 'has no column "t"'),
        ("t.csv", b"t\n\xff\xfe\n", "is no UTF-8 text: it has the byte 0xff"),
        ("t.csv", b"t\n1\n" + b"7" * 200_000, "is no table of text: field larger than"),
        ("t.csv.gz", gzip.compress(b"t\n1\n", mtime=0)[:-9], "breaks off, or is damaged"),
        ("t.csv.gz", b"t\n1\n", "cannot be read: Not a gzipped file"),
        ("t.csv.zst", b"t\n1\n", "cannot be read"),
        ("t.parquet", b"PAR1 but not really PAR1", "cannot be read as Parquet"),
        ("t.xlsx", "t\n1\n", 'ends in ".xlsx"'),
        ("t", "t\n1\n", "has no suffix that says what it is"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(
    refusing: Refusing, write: Writing, name: str, text: str | bytes, what: str
) -> None:
    write(name, text)
    error = refusing({"trace": {"file": name, "columns": AT}})
    assert error.what.startswith(what)


def test_another_separator_is_named(refusing: Refusing, write: Writing) -> None:
    write("t.csv", "t;p\n1;2\n")
    error = refusing({"trace": {"file": "t.csv", "columns": AT}})
    assert error.expected == "columns separated by commas, not by ';'"


def test_a_file_that_is_not_there_is_told_with_what_is(refusing: Refusing, write: Writing) -> None:
    folder = write("trace.csv", "t\n1\n").parent
    error = refusing({"trace": {"file": "trade.csv", "columns": AT}})
    assert error.what == f'there is no such file in {folder}, did you mean "trace.csv"?'
    assert refusing({"trace": {"file": "no/where.csv", "columns": AT}}).what.endswith("/no")


async def test_a_server_that_refuses_a_file_is_told(
    refusing: Refusing, aiohttp_refusal: str
) -> None:
    error = await asyncio.to_thread(
        refusing, {"trace": {"file": f"{aiohttp_refusal}/t.csv", "columns": AT}}
    )
    assert error.what.startswith("there is no such file: 403, message='Forbidden'")


def test_a_url_that_leads_nowhere_is_told(refusing: Refusing) -> None:
    error = refusing({"trace": {"file": "memory://no/t.csv", "columns": AT}})
    assert error.what == "there is no such file"
    error = refusing({"trace": {"file": "gopher://no/t.csv", "columns": AT}})
    assert "Protocol not known: gopher" in error.what


def test_milliseconds_since_1970_that_are_called_seconds_are_refused(
    refusing: Refusing, write: Writing
) -> None:
    write("t.csv", "t\n1790000000000\n1790000000250\n")
    error = refusing({"trace": {"file": "t.csv", "columns": AT}})
    assert "as seconds, that is 56,722 years after 1970" in error.what
    assert error.expected == "unit: milliseconds"


def test_numbers_that_are_called_dates_are_refused(refusing: Refusing, write: Writing) -> None:
    write("t.csv", "t\n1790000000\n")
    error = refusing({"trace": {"file": "t.csv", "columns": AT, "unit": "iso"}})
    assert error.what == 't is "1790000000"'
    assert "or a unit for numbers (seconds, milliseconds" in error.expected


def test_an_environment_that_no_request_is_for_is_told_with_those_that_are(
    refusing: Refusing, write: Writing
) -> None:
    write("t.csv", "t,e\n1,chat\n2,code\n")
    trace = {"file": "t.csv", "columns": {"at": "t", "environment": "e"}, "environment": "chart"}
    error = refusing({"trace": trace})
    assert error.what == 'has no request for the environment "chart", did you mean "chat"?'
    assert error.expected == 'one of "chat", "code"'
    error = refusing({"trace": {"file": "t.csv", "columns": AT, "environment": "chat"}})
    assert error.expected == "a column that names environments"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"client": 3}, "is read as table, of which no client can be given"),
        ({"format": "azure_llm", "unit": "seconds", "columns": None}, "no unit can be given"),
        ({"format": "mooncake", "environment": "a", "columns": None}, "no environment can be"),
    ],
)
def test_what_a_format_does_not_have_is_refused(
    refusing: Refusing, write: Writing, more: dict[str, Any], what: str
) -> None:
    write("t.csv", "t\n1\n")
    assert what in refusing({"trace": {"file": "t.csv", "columns": AT} | more}).what


def test_a_trace_that_is_too_large_to_sort_is_refused(
    refusing: Refusing, write: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "MOST_IN_MEMORY", 3)
    write("t.csv", "t\n1\n2\n3\n4\n")
    error = refusing({"trace": {"file": "t.csv", "columns": AT, "sort": True}})
    assert error.what == "has more than 3 requests, too many to sort in memory"


def test_the_requests_before_a_bad_row_of_a_later_piece_still_come(
    reading: Reading, write: Writing
) -> None:
    write("t.csv", "t\n" + "\n".join(map(str, range(8192))) + "\nx\n")
    settings = {"trace": {"file": "t.csv", "columns": AT}}
    assert len(reading(settings, most=8192)) == 8192
    with pytest.raises(TrafficError):
        reading(settings)


@pytest.mark.parametrize(("module", "name"), [(parquet_table, "t.parquet"), (files, "t.csv.zst")])
def test_without_arrow_the_error_says_how_to_get_it(
    refusing: Refusing,
    write: Writing,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    write(name, b"whatever")
    error = refusing({"trace": {"file": name, "columns": AT}})
    assert "pyarrow is not installed" in error.what
    assert "pip install 'orchestrator-serve[parquet]'" in error.expected
