"""Requests whose callers go away: a kill of what runs them, and a receiver that fails."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

from orchestrator import overview
from orchestrator.cluster import processes
from orchestrator.cluster.records import ClusterError
from orchestrator.demo.tour import ECHO, ENVIRONMENT, SLEEPER, Tour, table
from orchestrator.overview import milliseconds
from orchestrator.webhooks.listener import Received, listening

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_DISPATCHER = "dispatcher:Dispatcher"
_PROMPT = {"prompt": "Tell me everything about queues."}  # takes about two seconds


async def kill_the_dispatcher(tour: Tour) -> None:
    """A request is accepted, its runner dies, and its end is reported all the same."""
    client, console = tour.client, tour.console
    console.rule("handed over to a sleeping model; kill -9 of what runs it")
    secret = (await client.create_webhook_secret())["secret"]
    inbox: asyncio.Queue[Received] = asyncio.Queue()
    async with listening(secrets=[secret], on_delivery=inbox.put_nowait) as receiver:
        begun = time.perf_counter()
        shown = table("after", "what happened")

        def tell(what: str) -> None:
            shown.add_row(milliseconds(time.perf_counter() - begun), what)

        request_id = await client.submit(SLEEPER, ENVIRONMENT, _PROMPT, webhook_endpoint=receiver)
        tell(f"accepted as {request_id}: durable, and its caller may go")
        with console.status("the model wakes and runs it …"):
            await _until_running(tour, request_id)
        tell("it runs")
        victim = tour.replica_process(_DISPATCHER)
        if victim is None or not processes.send(victim, signal.SIGKILL):
            raise ClusterError("found no dispatcher to kill")
        tell(f"killed the dispatcher, process {victim.pid}, in the middle of it")
        with console.status("another dispatcher takes over when the lease is over …"):
            received = await _next(inbox)
        tell(f"its webhook came: {_signatures(received)}")
        found = await client.async_request(request_id, wait_seconds=_PATIENCE_SECONDS)
        tell(f"{found['status']} in attempt {found['attempts']}, reported {received.times} time")
        console.print(shown)
        if not received.verified or inbox.qsize():
            raise ClusterError("the webhook came more than once, or its signatures do not fit")


async def a_failing_receiver(tour: Tour) -> None:
    """A webhook is tried again, given up, and sent again when somebody asks for it."""
    client, console = tour.client, tour.console
    console.rule("a receiver that fails, the dead letter, the replay")
    inbox: asyncio.Queue[Received] = asyncio.Queue()
    tries = tour.webhook_tries
    async with listening(fail=tries, on_delivery=inbox.put_nowait) as receiver:
        request_id = await client.submit(
            ECHO, ENVIRONMENT, {"hello": "later"}, webhook_endpoint=receiver
        )
        with console.status(f"the receiver answers {tries} times with 503 …"):
            for _ in range(tries):
                await _next(inbox)
            letter = await _dead_letter(tour, request_id)
        console.print(overview.deliveries_table(letter["deliveries"]))
        console.print(f"given up: {letter['reason']}", markup=False)
        found = await client.async_request(request_id)
        console.print(f"{found['status']}: its result is kept all the same: {found['result']}")
        begun = time.perf_counter()
        await client.replay(request_id)
        received = await _next(inbox)
        after = milliseconds(time.perf_counter() - begun)
        console.print(f"replayed: answered {received.status} after {after}")
        with console.status("…"):
            await _until(lambda status: status == "SUCCEEDED", tour, request_id)
        left = await client.dead_letters(model=ECHO, environment=ENVIRONMENT)
        console.print(f"{len(left)} dead letters left")


async def _until_running(tour: Tour, request_id: str) -> None:
    await _until(lambda status: status != "QUEUED", tour, request_id)


async def _until(fits: Callable[[str], bool], tour: Tour, request_id: str) -> None:
    """Wait until the status of a request fits."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = await tour.client.async_request(request_id)
        if fits(found["status"]):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise ClusterError(f"request {request_id} is still {found['status']}")


async def _dead_letter(tour: Tour, request_id: str) -> dict[str, Any]:
    """The dead letter of a request, once its last try is written down."""
    await _until(lambda status: status == "WEBHOOK_FAILED", tour, request_id)
    return await tour.client.dead_letter(request_id)


async def _next(inbox: asyncio.Queue[Received]) -> Received:
    try:
        return await asyncio.wait_for(inbox.get(), _PATIENCE_SECONDS)
    except TimeoutError:
        raise ClusterError(f"no webhook came within {_PATIENCE_SECONDS:.0f} s") from None


def _signatures(received: Received) -> str:
    return "both signatures fit" if received.verified else "its signatures do not fit"
