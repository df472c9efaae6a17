"""What a replica said can be asked for: all of it, of one request, and as it comes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.observatory.protocol import LogsAsked
from orchestrator.telemetry.logs import LogLine
from replicas.deployment import Replica
from tests.unit.replicas.conftest import MemoryReporter, spec_of
from tests.unit.told import HeardHub

if TYPE_CHECKING:
    from tests.unit.replicas.conftest import StartReplica


async def ask(replica: Replica, **asked: Any) -> list[LogLine]:
    assert replica._telling is not None
    argument = msgspec.msgpack.encode(LogsAsked(**asked))
    return msgspec.msgpack.decode(await replica._telling.logs(argument), type=list[LogLine])


async def say(http, replica: Replica, text: str, how: str = "print", request_id: str = "") -> None:
    headers = {"x-request-id": request_id} if request_id else {}
    body = {"how": how, "text": text}
    async with http.post(f"{replica.address}/predict", json=body, headers=headers) as answer:
        assert answer.status == 200


async def test_lines_are_found_by_request(start: StartReplica, http):
    replica = await start("Talks")
    await say(http, replica, "one", request_id="r-1")
    await say(http, replica, "two", how="stderr", request_id="r-2")
    await say(http, replica, "three", how="log", request_id="r-1")
    (one, three) = await ask(replica, request_id="r-1")
    assert (one.stream, one.level, one.text) == ("stdout", "", "one")
    assert (three.stream, three.level, three.text) == ("log", "WARNING", "three")
    (two,) = await ask(replica, request_id="r-2")
    assert (two.stream, two.text) == ("stderr", "two")


async def test_the_newest_lines_come_and_then_those_after_them(start: StartReplica, http):
    replica = await start("Talks")
    for number in range(5):
        await say(http, replica, f"line {number}", request_id="r-1")
    last = await ask(replica, request_id="r-1", limit=2)
    assert [line.text for line in last] == ["line 3", "line 4"]
    await say(http, replica, "line 5", request_id="r-1")
    assert [line.text for line in await ask(replica, after=last[-1].seq)] == ["line 5"]


async def test_who_waits_gets_the_next_line_of_the_request(start: StartReplica, http):
    replica = await start("Talks")
    asking = asyncio.create_task(ask(replica, request_id="r-1", wait_s=5.0))
    await say(http, replica, "of another", request_id="r-2")
    await say(http, replica, "at last", request_id="r-1")
    assert [line.text for line in await asking] == ["at last"]


async def test_who_does_not_wait_gets_what_there_is(start: StartReplica):
    replica = await start("Talks")
    assert await ask(replica, request_id="r-1") == []
    assert await ask(replica, request_id="r-1", wait_s=0.05) == []


async def test_what_a_command_writes_is_kept(start: StartReplica):
    script = (
        "import http.server, sys; print('weights read', flush=True);"
        "print('CUDA is old', file=sys.stderr, flush=True);"
        "http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]),"
        " bind='127.0.0.1')"
    )
    replica = await start(
        {
            "type": "command",
            "command": [sys.executable, "-I", "-u", "-c", script, "{port}"],
            "health_path": "/",
        }
    )
    lines = await ask(replica)
    told = [(line.stream, line.text) for line in lines]
    assert ("stdout", "weights read") in told
    assert ("stdout", "CUDA is old") in told
    assert len([text for _, text in told if text == "weights read"]) == 1


async def test_a_bad_question_is_refused(start: StartReplica):
    replica = await start("Talks")
    assert replica._telling is not None
    with pytest.raises(msgspec.ValidationError):
        await replica._telling.logs(msgspec.msgpack.encode({"limit": "many"}))


async def test_the_observatory_gets_them(reporter: MemoryReporter, http):
    hub = HeardHub()
    hub.start()
    replica = Replica.__new__(Replica)
    await replica.__init__(spec_of("Talks"), reporter, hub)  # type: ignore[misc] # as Serve does
    try:
        await say(http, replica, "hello", request_id="r-1")
        asked = LogsAsked(request_id="r-1")
        await hub.until_heard()
        logs = await hub.logs("m", "production", "", {}, asked)
        (found,) = logs.replicas
        (line,) = msgspec.msgpack.decode(found.lines, type=list[LogLine])
        assert line.text == "hello"
    finally:
        await replica.close()
        await hub.close()
