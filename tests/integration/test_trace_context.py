"""What a model gets of the trace context that its caller sent: the W3C's cases, end to end.

The cases are those of the recommendation and of its public test suite
(https://github.com/w3c/trace-context), which can be run itself: see w3c.yaml.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.integration.running_cluster import RunningCluster

TRACE = "12345678901234567890123456789012"
PARENT = "1234567890123456"
VALID = f"00-{TRACE}-{PARENT}-00"
FORMAT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Passed:
    """The context that a model got."""

    trace_id: str
    parent_id: str
    flags: int
    tracestate: str


async def passed(cluster: RunningCluster, sent: Headers) -> Passed:
    """What the model gets of these headers: exactly one valid `traceparent`, always."""
    got = await headers_at_the_model(cluster, sent)
    (parent,) = [value for name, value in got if name == "traceparent"]
    found = FORMAT.fullmatch(parent)
    assert found, parent
    trace_id, parent_id, flags = found.groups()
    assert trace_id.strip("0")
    assert parent_id.strip("0")
    assert parent_id != PARENT
    state = ",".join(value for name, value in got if name == "tracestate")
    return Passed(trace_id, parent_id, int(flags, 16), state)


async def headers_at_the_model(cluster: RunningCluster, sent: Headers) -> Headers:
    path = "/models/w3c/environments/production/sync/headers"
    reply = await cluster.ask("POST", path, headers=CIMultiDict(sent), data=b"")
    assert reply.status == 200, reply.body
    return [(name, value) for name, value in reply.json]


def parents(*values: str) -> Headers:
    return [("traceparent", value) for value in values]


def states(*values: str) -> Headers:
    return [("traceparent", VALID), *(("tracestate", value) for value in values)]


CONTINUED: dict[str, Headers] = {
    "valid": parents(VALID),
    "name in capitals": [("TRACEPARENT", VALID)],
    "name in mixed case": [("TrAcEpArEnT", VALID)],
    "blanks before": parents(f" \t{VALID}"),
    "blanks after": parents(f"{VALID} \t"),
    "a later version": parents(f"cc-{TRACE}-{PARENT}-01"),
    "a later version that says more": parents(f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be"),
}

BEGUN_ANEW: dict[str, Headers] = {
    "none": [],
    "two different ones": parents(f"00-{TRACE[:-1]}1-{PARENT}-01", VALID),
    "the same one twice": parents(VALID, VALID),
    "name with a hyphen": [("trace-parent", VALID)],
    "name with a dot": [("trace.parent", VALID)],
    "version 00 with a dot after it": parents(f"{VALID}."),
    "version 00 that says more": parents(f"{VALID}-what-the-future-will-be"),
    "a later version with something else than a hyphen": parents(f"cc-{TRACE}-{PARENT}-01.more"),
    "version ff": parents(f"ff-{TRACE}-{PARENT}-01"),
    "version of other characters": parents(f".0-{TRACE}-{PARENT}-01"),
    "version in capitals": parents(f"CC-{TRACE}-{PARENT}-01"),
    "version too long": parents(f"000-{TRACE}-{PARENT}-01"),
    "version too short": parents(f"0-{TRACE}-{PARENT}-01"),
    "trace id of zeros": parents(f"00-{'0' * 32}-{PARENT}-01"),
    "trace id of other characters": parents(f"00-.{TRACE[1:]}-{PARENT}-01"),
    "trace id in capitals": parents(f"00-{'A' * 32}-{PARENT}-01"),
    "trace id too long": parents(f"00-{TRACE}3-{PARENT}-01"),
    "trace id too short": parents(f"00-{TRACE[1:]}-{PARENT}-01"),
    "parent id of zeros": parents(f"00-{TRACE}-{'0' * 16}-01"),
    "parent id of other characters": parents(f"00-{TRACE}-{PARENT[1:]}.-01"),
    "parent id too long": parents(f"00-{TRACE}-{PARENT}7-01"),
    "parent id too short": parents(f"00-{TRACE}-{PARENT[1:]}-01"),
    "flags of other characters": parents(f"00-{TRACE}-{PARENT}-.0"),
    "flags too long": parents(f"00-{TRACE}-{PARENT}-001"),
    "flags too short": parents(f"00-{TRACE}-{PARENT}-1"),
    "empty": parents(""),
}

EVERY_VALUE = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in ",=")
EVERY_KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
MANY = [f"bar{number:02}={number:02}" for number in range(1, 34)]

STATES: dict[str, tuple[Headers, str]] = {
    "one member": (states("foo=1"), "foo=1"),
    "several": (states("foo=1,bar=2"), "foo=1,bar=2"),
    "of several headers, in order": (
        states("foo=1,bar=2", "rojo=1,congo=2", "baz=3"),
        "foo=1,bar=2,rojo=1,congo=2,baz=3",
    ),
    "name in mixed case": ([("traceparent", VALID), ("TrAcEsTaTe", "foo=1")], "foo=1"),
    "name with a hyphen": ([("traceparent", VALID), ("trace-state", "foo=1")], ""),
    "without a traceparent": ([("tracestate", "foo=1")], ""),
    "with a traceparent that is not valid": (
        [("traceparent", "00-1-2-3"), ("tracestate", "foo=1")],
        "",
    ),
    "empty": (states(""), ""),
    "empty, and another": (states("", "foo=1"), "foo=1"),
    "empty members": (states("foo=1,,bar=2,"), "foo=1,bar=2"),
    "blanks around members": (states("foo=1 \t , \t bar=2, \t baz=3"), "foo=1,bar=2,baz=3"),
    "blanks at both ends": (states("\t foo=1 \t"), "foo=1"),
    "the same key twice": (states("foo=1,bar=2,foo=3"), "foo=1,bar=2"),
    "every character of a key": (states(f"{EVERY_KEY}=1"), f"{EVERY_KEY}=1"),
    "a tenant's key": (states("0tenant@vendor=1"), "0tenant@vendor=1"),
    "every character of a value": (states(f"foo={EVERY_VALUE}"), f"foo={EVERY_VALUE.rstrip()}"),
    "blanks before a value": (states("foo= 1"), "foo= 1"),
    "a key with a blank after it": (states("foo =1"), ""),
    "a key in capitals": (states("FOO=1"), ""),
    "a key of other characters": (states("foo.bar=1"), ""),
    "a key that begins with a hyphen": (states("-foo=1,bar=2"), ""),
    "no key": (states("=1"), ""),
    "no value": (states("foo=,bar=3"), ""),
    "two equals signs": (states("foo=bar=baz"), ""),
    "a longest key": (states(f"foo=1,{'z' * 256}=1"), f"foo=1,{'z' * 256}=1"),
    "a key that is too long": (states(f"foo=1,{'z' * 257}=1"), ""),
    "a value that is too long": (states(f"foo={'v' * 257}"), ""),
    "32 members": (states(",".join(MANY[:32])), ",".join(MANY[:32])),
    "33 members": (states(",".join(MANY)), ""),
    "33 members in several headers": (states(",".join(MANY[:20]), ",".join(MANY[20:])), ""),
    "over 512 bytes: the large member goes": (
        states(f"a={'1' * 200},b={'2' * 200},c={'3' * 120}"),
        f"a={'1' * 200},c={'3' * 120}",
    ),
    "over 512 bytes of small members: from the end": (
        states(",".join(f"k{number}={'v' * 100}" for number in range(6))),
        ",".join(f"k{number}={'v' * 100}" for number in range(4)),
    ),
    "a bomb": (states(",".join(f"k{number}=v" for number in range(1200))), ""),
}


@pytest.mark.parametrize("sent", CONTINUED.values(), ids=CONTINUED)
async def test_a_trace_goes_on(cluster: RunningCluster, sent: Headers) -> None:
    assert (await passed(cluster, sent)).trace_id == TRACE


@pytest.mark.parametrize("sent", BEGUN_ANEW.values(), ids=BEGUN_ANEW)
async def test_a_trace_begins_anew(cluster: RunningCluster, sent: Headers) -> None:
    first, second = await passed(cluster, sent), await passed(cluster, sent)
    assert first.trace_id not in {TRACE, second.trace_id}
    # The ids of our own are random in all their bits.
    assert (first.flags, first.tracestate) == (2, "")


@pytest.mark.parametrize(("sent", "expected"), STATES.values(), ids=STATES)
async def test_a_tracestate_is_passed_on_whole_and_valid_or_not_at_all(
    cluster: RunningCluster, sent: Headers, expected: str
) -> None:
    assert (await passed(cluster, sent)).tracestate == expected


async def test_the_flags_that_are_known_are_passed_on_and_no_others(
    cluster: RunningCluster,
) -> None:
    for flags, expected in ((0x00, 0x00), (0x01, 0x01), (0x02, 0x02), (0x03, 0x03), (0xFE, 0x02)):
        got = await passed(cluster, parents(f"00-{TRACE}-{PARENT}-{flags:02x}"))
        assert (got.trace_id, got.flags) == (TRACE, expected)


async def test_each_call_of_a_model_can_be_a_span_of_its_own(cluster: RunningCluster) -> None:
    calls: list[str] = []

    async def take(request: web.Request) -> web.Response:
        calls.append(request.headers["traceparent"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        wanted: list[dict[str, Any]] = [{"url": url, "arguments": []}] * 3
        reply = await cluster.ask(
            "POST",
            "/models/w3c/environments/production/sync/test",
            json=wanted,
            headers={"traceparent": VALID},
        )
    finally:
        await runner.cleanup()
    assert reply.status == 200
    found = [FORMAT.fullmatch(call) for call in calls]
    assert [each[1] for each in found if each] == [TRACE] * 3
    assert len({each[2] for each in found if each} - {PARENT}) == 3


async def test_baggage_stays_outside(cluster: RunningCluster) -> None:
    for baggage in ("user=alice", ",".join(f"k{number}=v" for number in range(1000))):
        got = await headers_at_the_model(cluster, [("baggage", baggage)])
        assert "baggage" not in dict(got)
