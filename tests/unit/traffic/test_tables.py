"""Traces that are tables: text, JSON lines and Parquet, plain and compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet

from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.moments import nanoseconds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.traffic.conftest import Reading, Writing

COLUMNS = {
    "at": "when",
    "prompt_tokens": "in",
    "output_tokens": "out",
    "service_seconds": "took",
    "deadline_seconds": "gave up",
    "asynchronous": "later",
    "environment": "for",
}
CSV = """\
when,id,in,out,took,gave up,later,for
100,1,5,6,0.5,,no,a
100.25,2,,7,,2,YES,b
103,3,8.0,0,1.5,3,0,
"""
REQUESTS = [
    Arrival(0.0, 5, 6, 0.5, None, False, "a"),
    Arrival(0.25, 0, 7, None, 2.0, True, "b"),
    Arrival(3.0, 8, 0, 1.5, 3.0, False, ""),
]
JSON_LINES = """\
{"when": 100, "in": 5, "out": 6, "took": 0.5, "for": "a", "hash_ids": [1, 2, 3]}

{"when": 100.25, "out": 7, "gave up": 2, "later": true, "for": "b"}
{"when": 103, "in": 8, "out": 0, "took": 1.5, "gave up": 3, "later": false, "for": ""}
"""


def table(file: str, **more: Any) -> dict[str, Any]:
    return {"trace": {"file": file, "columns": COLUMNS, **more}}


def test_a_csv_file_is_read_by_its_header(reading: Reading, write: Writing) -> None:
    write("t.csv", CSV)
    assert reading(table("t.csv")) == REQUESTS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("windows.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("gaps.csv", "\n" + CSV.replace("100.25", "\n\n100.25") + "\n\n"),
        ("spaces.csv", CSV.replace(",", ", ", 7).replace("100.25", " 100.25 ")),
        ("tabs.tsv", CSV.replace(",", "\t")),
        ("quotes.csv", CSV.replace(",a\n", ',"a"\n').replace("gave up", '"gave up"')),
    ],
)
def test_what_other_programs_make_of_a_table_is_read_too(
    reading: Reading, write: Writing, name: str, text: str
) -> None:
    write(name, text.removeprefix("\n"))
    assert reading(table(name)) == REQUESTS


def test_json_lines_are_read_by_their_keys(reading: Reading, write: Writing) -> None:
    first = JSON_LINES.replace('"in": 5,', '"gave up": null, "later": 0, "in": 5,')
    write("t.jsonl", first)
    assert reading(table("t.jsonl")) == REQUESTS


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)],
)
def test_a_compressed_file_is_unpacked_by_its_suffix(
    reading: Reading, write: Writing, ending: str, pack: Any
) -> None:
    write(f"t.csv.{ending}", pack(CSV.encode()))
    assert reading(table(f"t.csv.{ending}")) == REQUESTS


def test_a_file_compressed_with_zstd_is_unpacked(reading: Reading, tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "t.csv.zst"), "zstd") as out:
        out.write(CSV.encode())
    assert reading(table("t.csv.zst")) == REQUESTS


def test_a_parquet_file_is_read_by_its_columns(reading: Reading, tmp_path: Path) -> None:
    columns = {
        "when": [100.0, 100.25, 103.0],
        "in": pa.array([5, None, 8], pa.int32()),
        "out": [6, 7, 0],
        "took": [0.5, None, 1.5],
        "gave up": [None, 2.0, 3.0],
        "later": [False, True, False],
        "for": ["a", "b", None],
        "other": [1, 2, 3],
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert reading(table("t.parquet")) == REQUESTS


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_moments_in_parquet_are_exact(
    reading: Reading, tmp_path: Path, unit: str, zone: str | None
) -> None:
    begin = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    moments = [begin, begin + timedelta(seconds=2, microseconds=1)]
    column = pa.array(moments, pa.timestamp(unit, tz=zone))
    parquet.write_table(pa.table({"t": column}), tmp_path / "t.parquet")
    found = reading({"trace": {"file": "t.parquet", "columns": {"at": "t"}}})
    assert [each.at for each in found] == [0.0, 2.000001]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("seconds", 1), ("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)],
)
def test_numbers_are_of_the_unit_that_the_experiment_says(
    reading: Reading, write: Writing, unit: str, scale: float
) -> None:
    write("t.csv", f"t\n{3 * scale:.0f}\n{4 * scale:.0f}\n{5 * scale:.0f}\n")
    found = reading({"trace": {"file": "t.csv", "columns": {"at": "t"}, "unit": unit}})
    assert [each.at for each in found] == [0, 1, 2]


@pytest.mark.parametrize(
    "dates",
    [
        ["2026-01-31 23:59:59.9", "2026-02-01 00:00:00.15"],
        ["2026-01-31T23:59:59.9Z", "2026-02-01T00:00:00.15Z"],
        ["2026-01-31 23:59:59.900000+00:00", "2026-02-01 01:00:00.150000+01:00"],
        ["2026-02-01 05:29:59.9+05:30", "2026-01-31 16:00:00.15-08:00"],
    ],
)
def test_dates_are_known_without_a_unit(reading: Reading, write: Writing, dates: list[str]) -> None:
    write("t.csv", "\n".join(["t", *dates]))
    found = reading({"trace": {"file": "t.csv", "columns": {"at": "t"}}})
    assert [each.at for each in found] == [0, 0.25]


def test_dates_keep_a_tenth_of_a_microsecond(reading: Reading, write: Writing) -> None:
    write("t.csv", "t\n2023-11-16 18:17:03.9799600\n2023-11-16 18:17:03.9799601\n")
    found = reading({"trace": {"file": "t.csv", "columns": {"at": "t"}}})
    assert found[1].at == 1e-7


@hypothesis_settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2261, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_a_date_means_what_python_says_it_means(moment: datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset % timedelta(minutes=1) or moment.astimezone(UTC).year < 1971:
        return
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since // timedelta(microseconds=1)) * 1000
    assert nanoseconds([moment.isoformat()]).tolist() == [expected]


def test_an_unordered_trace_is_sorted_where_that_is_asked_for(
    reading: Reading, write: Writing
) -> None:
    write("t.csv", "t,p\n12,2\n10,1\n30,3\n12,4\n")
    trace = {"file": "t.csv", "columns": {"at": "t", "prompt_tokens": "p"}, "sort": True}
    assert [(each.at, each.prompt_tokens) for each in reading({"trace": trace})] == [
        (0, 1),
        (2, 2),
        (2, 4),
        (20, 3),
    ]


def test_requests_of_one_environment_keep_their_place_in_time(
    reading: Reading, write: Writing
) -> None:
    write("t.csv", CSV)
    assert reading(table("t.csv", environment="b")) == [REQUESTS[1]]


def test_a_trace_is_looked_for_beside_the_experiment_and_anywhere_else(
    reading: Reading, write: Writing, tmp_path: Path
) -> None:
    write("deep/er/t.csv", CSV)
    assert reading(table("deep/er/t.csv")) == REQUESTS
    assert reading(table(str(tmp_path / "deep/er/t.csv"))) == REQUESTS
    assert reading(table((tmp_path / "deep/er/t.csv").as_uri())) == REQUESTS


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sorted_trace_has_all_of_its_requests(
    reading: Reading, write: Writing, moments: list[float]
) -> None:
    write("t.csv", "t\n" + "\n".join(map(repr, moments)))
    found = reading({"trace": {"file": "t.csv", "columns": {"at": "t"}, "sort": True}})
    least = min(moments)
    assert [each.at for each in found] == pytest.approx(
        [each - least for each in sorted(moments)], abs=1e-9
    )
