"""Asynchronous requests over HTTP: submit, read, wait for, cancel, list and count them.

`x-request-id` is the id of the HTTP call, as everywhere; the id of an asynchronous
request stands in bodies and addresses only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.async_request import AsyncState
from orchestrator.lifecycle.errors import ResultUnreadable, UnknownRequest
from orchestrator.router.directory import RequestAddress
from orchestrator.router.json_body import clipped
from orchestrator.router.pages import gather_page
from orchestrator.router.parameters import Parameters
from orchestrator.router.responses import Answer, json_answer
from orchestrator.router.submission import read_body, submission
from orchestrator.router.targets import Action
from orchestrator.router.views import request_in_full, request_in_list
from orchestrator.store.keys import tag_of_id
from orchestrator.store.results import ResultUnavailable

if TYPE_CHECKING:
    from orchestrator.router.auth import Reach
    from orchestrator.router.directory import Route
    from orchestrator.router.durable import Durable, DurablePlane
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.exchange import Exchange
    from orchestrator.router.pages import Fetch
    from orchestrator.router.recorder import Recorder
    from orchestrator.store.records import Record

ACTIONS: Final = frozenset(
    {
        Action.ASYNC_PREDICT,
        Action.ASYNC_QUEUE_STATUS,
        Action.ASYNC_REQUESTS,
        Action.ASYNC_REQUEST,
    }
)
"""Of a target, what is answered here."""

LONGEST_WAIT_S: Final = 60
LIST_LIMIT: Final = 50
LONGEST_LIST: Final = 200
STATES: Final = tuple(state.value for state in AsyncState)
WHAT: Final = "asynchronous request"


class AsyncRequests:
    """Answers to the callers of asynchronous requests; raises `RequestError` for what it refuses.

    The caller has been authenticated, and holds the scope `inference`.
    """

    def __init__(self, plane: DurablePlane, recorder: Recorder) -> None:
        self._plane = plane
        self._recorder = recorder

    async def at_target(self, exchange: Exchange, route: Route) -> Answer:
        """One of `ACTIONS` of an environment that the caller reaches."""
        endpoint = route.endpoint
        match route.action:
            case Action.ASYNC_PREDICT:
                exchange.demand_method("POST")
                return await self._submit(exchange, endpoint)
            case Action.ASYNC_QUEUE_STATUS:
                exchange.demand_method("GET", "HEAD")
                return await self._depth(exchange, endpoint)
            case Action.ASYNC_REQUESTS:
                exchange.demand_method("GET", "HEAD")
                return await self._list(exchange, endpoint)
            case _:
                name = route.path.decode("latin-1")
                address = RequestAddress(name, endpoint.model, endpoint.name)
                return await self.at_id(exchange, address)

    async def at_id(self, exchange: Exchange, address: RequestAddress) -> Answer:
        """Reads or cancels one request."""
        exchange.demand_method("GET", "HEAD", "DELETE")
        with self._plane.open() as durable:
            if exchange.method == "DELETE":
                return await self._cancel(exchange, address, durable)
            return await self._show(exchange, address, durable)

    async def _submit(self, exchange: Exchange, endpoint: Endpoint) -> Answer:
        Parameters(exchange.query, ())
        body = (await exchange.body(endpoint.settings.asynchronous.max_body_bytes)).joined()
        read = read_body(body)
        headers = exchange.scope["headers"]
        trace = self._recorder.hand_over(exchange)
        submitted = submission(endpoint, read, body, headers, exchange.key, trace)
        with self._plane.open() as durable:
            if read.webhook_endpoint is not None:
                await durable.receivers.admit(read.webhook_endpoint)
            accepted = await durable.store.requests.submit(submitted)
        self._recorder.handed_over(exchange, accepted)
        return json_answer({"request_id": accepted.request_id}, 201)

    async def _depth(self, exchange: Exchange, endpoint: Endpoint) -> Answer:
        Parameters(exchange.query, ())
        with self._plane.open() as durable:
            depth = await durable.store.requests.depth(endpoint.tag)
        return json_answer(
            {
                "model_id": endpoint.model,
                "deployment_id": endpoint.settings.deployment,
                "num_queued_requests": depth.queued,
                "num_in_progress_requests": depth.in_progress,
            }
        )

    async def _list(self, exchange: Exchange, endpoint: Endpoint) -> Answer:
        asked = Parameters(exchange.query, ("cursor", "limit", "status"))
        limit = asked.whole("limit", LIST_LIMIT, 1, LONGEST_LIST)
        with self._plane.open() as durable:
            fetch = fetch_requests(durable, asked.one_of("status", STATES))
            records, cursor = await gather_page([endpoint.tag], asked.text("cursor"), limit, fetch)
        requests = [request_in_list(record) for record in records]
        return json_answer({"async_requests": requests, "cursor": cursor})

    async def _show(self, exchange: Exchange, address: RequestAddress, durable: Durable) -> Answer:
        wait_s = Parameters(exchange.query, ("wait",)).seconds("wait", LONGEST_WAIT_S)
        deadline = time.monotonic() + wait_s
        callers = exchange.deadline()
        if callers is not None:
            deadline = min(deadline, callers[0])
        record = await find_request(durable, address, exchange.reach)
        if wait_s and not record.state.final:
            tag = tag_of_id(record.request_id) or ""
            ended = await durable.waiting.until_ended(
                tag, record.request_id, deadline, exchange.receive
            )
            if ended is None:
                raise UnknownRequest(WHAT, address.request_id)
            record = ended
        return json_answer(request_in_full(record, await _result(record, durable)))

    async def _cancel(
        self, exchange: Exchange, address: RequestAddress, durable: Durable
    ) -> Answer:
        Parameters(exchange.query, ())
        record = await find_request(durable, address, exchange.reach)
        found = await durable.store.requests.cancel(record.request_id)
        if found is None:
            raise UnknownRequest(WHAT, address.request_id)
        canceled, state = found
        message = (
            "It is canceled; if it was running, its run is ended."
            if canceled
            else f"It has ended before: {state.value}."
        )
        return json_answer(
            {"request_id": record.request_id, "canceled": canceled, "message": message}
        )


async def find_request(durable: Durable, address: RequestAddress, reach: Reach) -> Record:
    """The request that an address names.

    Raises:
        UnknownRequest: there is none, or not where the address says.
        Forbidden: the caller does not reach its environment.
        StoreUnreachable: the store does not answer.
    """
    name = address.request_id
    record = None if tag_of_id(name) is None else await durable.store.requests.get(name)
    if (
        record is None
        or address.model not in (None, record.model)
        or address.environment not in (None, record.environment)
    ):
        raise UnknownRequest(WHAT, clipped(name))
    reach.demand_model(record.model)
    reach.demand_environment(record.environment)
    return record


def fetch_requests(durable: Durable, status: str | None) -> Fetch[Record]:
    """Reads parts of lists of requests, of those in one state where it is given."""
    state = None if status is None else AsyncState(status)

    async def fetch(tag: str, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        page = await durable.store.requests.list(tag, status=state, cursor=cursor, limit=limit)
        return page.records, page.cursor

    return fetch


async def _result(record: Record, durable: Durable) -> bytes | None:
    result = record.result
    if result is None or result.reference is None:
        return None if result is None else result.data
    try:
        return await durable.results.read(result.reference)
    except ResultUnavailable as error:
        raise ResultUnreadable(str(error)) from error
