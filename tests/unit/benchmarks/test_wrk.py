"""What the load generator is given and what it prints."""

import pytest

from tests.benchmarks import wrk

LINE = (
    'benchmark-result {"requests": 3000, "duration_us": 2000000, "bytes": 9, "p50_us": 510, '
    '"p90_us": 700, "p99_us": 1500, "max_us": 9000, "mean_us": 560.5, '
    '"errors": {"connect": 0, "read": 1, "write": 0, "timeout": 2, "status": 4}}'
)
OUTPUT = f"""Running 2s test @ http://127.0.0.1:1/predict
  1 threads and 16 connections
{LINE}
Requests/sec:   1500.00
"""


def test_result_line_is_found_among_what_wrk_prints_itself():
    seen = wrk.parse_output(OUTPUT)

    assert seen.throughput == 1500
    assert (seen.p50_ms, seen.p90_ms, seen.p99_ms, seen.max_ms) == (0.51, 0.7, 1.5, 9.0)
    assert seen.mean_ms == 0.5605


def test_every_kind_of_error_counts():
    assert wrk.parse_output(OUTPUT).errors == 7


def test_run_of_no_length_has_no_throughput():
    seen = wrk.parse_output(LINE.replace('"duration_us": 2000000', '"duration_us": 0'))

    assert seen.throughput == 0


def test_output_without_a_result_is_an_error_that_shows_it():
    with pytest.raises(wrk.LoadGeneratorError, match="unable to connect"):
        wrk.parse_output("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize("cut", [1, 40])
def test_result_that_was_cut_off_is_an_error(cut):
    with pytest.raises(wrk.LoadGeneratorError, match="cannot be read"):
        wrk.parse_output(LINE[:-cut])


def test_result_without_a_figure_is_an_error():
    with pytest.raises(wrk.LoadGeneratorError, match="cannot be read"):
        wrk.parse_output(LINE.replace("p50_us", "p51_us"))


def test_body_becomes_a_lua_string():
    script = wrk.script_for('{"text": "a\\\\b"}')

    assert 'wrk.body = "{\\"text\\": \\"a\\\\\\\\b\\"}"' in script
    assert "%%" not in script
    assert "%(" not in script


def test_missing_wrk_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(wrk.LoadGeneratorError, match="apt-get install wrk"):
        wrk.find_wrk()
