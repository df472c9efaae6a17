"""The exposition, read back with Prometheus' own parsers."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from orchestrator.observatory.exposition import Exposition, format_of
from orchestrator.observatory.totals import Totals
from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.metrics import ALL, Kind
from tests.unit.observatory.world import NAMES, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from orchestrator.observatory.totals import Key

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ODD = ('a "quoted"\\name', "new\nline")


def everything(labels: tuple[str, ...] = ("a", "b", "c")) -> tuple[Totals, dict[Key, float]]:
    """A value for each metric of the list."""
    registry = Registry()
    gauges: dict[Key, float] = {}
    for metric in ALL:
        values = labels[: len(metric.labels)]
        if metric.kind is Kind.COUNTER:
            registry.counter(metric, *values).add(3)
        elif metric.kind is Kind.HISTOGRAM:
            histogram = registry.histogram(metric, *values)
            for seconds in (0.0, metric.buckets[0], 0.3, 1e9):
                histogram.observe(seconds)
            histogram.exemplify(0.3, TRACE, 1_700_000_000.5)
        else:
            gauges[metric.name, values] = 2.5
    totals = Totals()
    totals.add(registry.take())
    return totals, gauges


def parse_openmetrics(text: str) -> Iterable[Metric]:
    found: Iterable[Metric] = openmetrics_families(text)  # type: ignore[no-untyped-call]
    return found


def parsed(found: Iterable[Metric]) -> dict[str, Metric]:
    return {family.name: family for family in found}


def exposed(totals: Totals, gauges: dict[Key, float], *, openmetrics: bool) -> str:
    _, text = Exposition(totals.counters, totals.histograms, gauges).written(
        OPENMETRICS if openmetrics else TEXT
    )
    return text.decode()


def test_every_metric_of_the_list_is_read_back_from_the_text_format():
    text = exposed(*everything(), openmetrics=False)
    families = parsed(parse_text(text))
    for metric in ALL:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.value
        assert family.documentation == metric.help
    assert len(families) == len(ALL)


def test_every_metric_of_the_list_is_read_back_from_openmetrics():
    families = parsed(parse_openmetrics(exposed(*everything(), openmetrics=True)))
    assert len(families) == len(ALL)
    for metric in ALL:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.value
        if metric.kind is not Kind.HISTOGRAM:
            continue
        exemplars = [each for each in family.samples if each.exemplar]
        [bucket] = exemplars
        exemplar: Any = bucket.exemplar
        assert exemplar.labels == {"trace_id": TRACE}
        assert exemplar.value == 0.3
        assert float(exemplar.timestamp) == 1_700_000_000.5
        assert float(bucket.labels["le"]) >= 0.3


def test_a_histogram_is_cumulative_and_its_count_is_that_of_the_last_bucket():
    family = parsed(parse_text(exposed(*everything(), openmetrics=False)))[
        metrics.REQUEST_SECONDS.name
    ]
    buckets = [each.value for each in family.samples if each.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert [each.value for each in family.samples if each.name.endswith("_count")] == [4]
    assert buckets[-1] == 4
    assert buckets[0] == 2


@pytest.mark.parametrize("openmetrics", [False, True])
def test_labels_may_have_any_characters_in_them(openmetrics):
    totals, gauges = everything((*ODD, "c"))
    parse = parse_openmetrics if openmetrics else parse_text
    family = parsed(parse(exposed(totals, gauges, openmetrics=openmetrics)))[
        "orchestrator_requests"
    ]
    assert family.samples[0].labels == {
        "model": ODD[0],
        "environment": ODD[1],
        "outcome": "c",
    }


def test_what_has_no_value_is_left_out():
    assert Exposition({}, {}, {}).written(TEXT)[1] == b""
    assert Exposition({}, {}, {}).written(OPENMETRICS)[1] == b"# EOF\n"


def test_metrics_that_are_not_in_the_list_are_left_out():
    assert Exposition({("other", ()): 1.0}, {}, {}).written(TEXT)[1] == b""


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", OPENMETRICS),
        ("nonsense,,;;=", TEXT),
        ("application/openmetrics-text;version=abc", TEXT),
    ],
)
def test_the_format_is_what_is_accepted(accept, kind):
    assert format_of(accept).startswith(kind)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
async def test_promtool_finds_nothing_wrong():
    text = exposed(*everything(), openmetrics=False)
    process = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(text.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def test_scrapes_at_the_same_time_are_answered_by_one_exposition(world: World, monkeypatch):
    made = []

    written = Exposition.written

    def counted(*args):
        made.append(1)
        return written(*args)

    monkeypatch.setattr(Exposition, "written", counted)
    answers = await asyncio.gather(*(world.hub.metrics("text/plain") for _ in range(5)))
    assert len(made) == 1
    assert len({text for _, text in answers}) == 1
    world.pass_time(2)
    await world.hub.metrics("text/plain")
    assert len(made) == 2


async def test_a_scraper_that_gives_up_takes_the_exposition_from_nobody(world: World):
    one = asyncio.ensure_future(world.hub.metrics(""))
    two = asyncio.ensure_future(world.hub.metrics(""))
    await asyncio.sleep(0)
    one.cancel()
    kind, text = await two
    assert kind.startswith(TEXT)
    assert b"orchestrator_processes" in text


def test_what_is_added_meanwhile_does_not_tear_a_histogram():
    totals, _ = everything(NAMES)
    before = totals.histograms[metrics.REQUEST_SECONDS.name, NAMES]
    registry = Registry()
    registry.histogram(metrics.REQUEST_SECONDS, *NAMES).observe(1)
    totals.add(registry.take())
    assert sum(before.counts) == 4
    assert sum(totals.histograms[metrics.REQUEST_SECONDS.name, NAMES].counts) == 5
