"""What operators see and do of asynchronous requests, webhooks and their signing keys.

The caller has been authenticated and holds the scope `manage`; what it reaches is
looked at here. Everything raises `RequestError` for what it refuses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.lifecycle.errors import UnknownModel, UnknownRequest
from orchestrator.router import views
from orchestrator.router.async_requests import (
    LIST_LIMIT,
    LONGEST_LIST,
    STATES,
    fetch_requests,
    find_request,
)
from orchestrator.router.directory import RequestAddress
from orchestrator.router.json_body import JsonBody, clipped
from orchestrator.router.pages import gather_page
from orchestrator.router.parameters import Parameters
from orchestrator.router.responses import Answer, json_answer
from orchestrator.store.decoding import host_of
from orchestrator.store.keys import tag_of_id
from orchestrator.store.signing_keys import SigningKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from orchestrator.router.auth import Reach
    from orchestrator.router.directory import Directory
    from orchestrator.router.durable import Durable, DurablePlane
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.pages import Fetch
    from orchestrator.store.records import DeadLetter, SigningKey

    Handler = Callable[["Asked"], Awaitable[Answer]]

_REPLAYED_AT_ONCE: Final = 64
_PAGING: Final = ("cursor", "limit")
_PLACE: Final = ("environment", "model")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks for.

    Attributes:
        directory: the routing table that the request goes by.
        reach: what the operator's key reaches.
        query: of the address, raw.
        name: what the address names, as in `dead_letters/{id}`; empty: nothing.
        body: of the request.
        place: model and environment that the address names; empty texts: none.
        accept: which formats of an answer are wanted.
    """

    directory: Directory
    reach: Reach
    query: bytes
    name: str
    body: bytes
    place: tuple[str, str] = ("", "")
    accept: str = ""


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that needs none."""


class DeadLetterFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters are meant; what is null does not matter."""

    model: str | None = None
    environment: str | None = None
    host: str | None = None


_nothing: Final = JsonBody(_Nothing, {})
_filter: Final = JsonBody(
    DeadLetterFilter,
    {
        "model": "a model's name or null is needed",
        "environment": "an environment's name or null is needed",
        "host": "a receiver's host name or null is needed",
    },
)


class Oversight:
    """The operations, by the path below `/api/v1` and the method."""

    def __init__(self, plane: DurablePlane) -> None:
        self._plane = plane
        self.operations: dict[str, dict[str, Handler]] = {
            "/async_requests": {"GET": self._requests},
            "/async_requests/{id}/deliveries": {"GET": self._deliveries},
            "/dead_letters": {"GET": self._dead_letters},
            "/dead_letters/replay": {"POST": self._replay_all},
            "/dead_letters/{id}": {"GET": self._dead_letter, "DELETE": self._drop},
            "/dead_letters/{id}/replay": {"POST": self._replay},
            "/webhook_secrets": {"GET": self._secrets, "POST": self._create_secret},
            "/webhook_secrets/rotate": {"POST": self._rotate_secret},
            "/webhook_secrets/{id}": {"DELETE": self._delete_secret},
        }

    # Requests and their deliveries

    async def _requests(self, asked: Asked) -> Answer:
        given = Parameters(asked.query, (*_PAGING, *_PLACE, "status"))
        endpoints = endpoints_of(asked, given.text("model"), given.text("environment"))
        limit = given.whole("limit", LIST_LIMIT, 1, LONGEST_LIST)
        with self._plane.open() as durable:
            records, cursor = await gather_page(
                [endpoint.tag for endpoint in endpoints],
                given.text("cursor"),
                limit,
                fetch_requests(durable, given.one_of("status", STATES)),
            )
        requests = [views.request_in_list(record) for record in records]
        return json_answer({"async_requests": requests, "cursor": cursor})

    async def _deliveries(self, asked: Asked) -> Answer:
        Parameters(asked.query, ())
        with self._plane.open() as durable:
            record = await find_request(durable, RequestAddress(asked.name), asked.reach)
            lines = await durable.store.deliveries.log(record.request_id)
        return json_answer(
            {
                "request_id": record.request_id,
                "webhook_status": record.webhook_status,
                "webhook_endpoint": record.webhook,
                "deliveries": [views.delivery(line) for line in lines],
            }
        )

    # Dead letters

    async def _dead_letters(self, asked: Asked) -> Answer:
        given = Parameters(asked.query, (*_PAGING, *_PLACE, "host"))
        is_wanted = _goes_to(given.text("host"))
        endpoints = endpoints_of(asked, given.text("model"), given.text("environment"))
        limit = given.whole("limit", LIST_LIMIT, 1, LONGEST_LIST)
        with self._plane.open() as durable:
            letters, cursor = await gather_page(
                [endpoint.tag for endpoint in endpoints],
                given.text("cursor"),
                limit,
                _fetch_letters(durable),
                is_wanted,
            )
        found = [views.dead_letter_in_list(letter) for letter in letters]
        return json_answer({"dead_letters": found, "cursor": cursor})

    async def _dead_letter(self, asked: Asked) -> Answer:
        Parameters(asked.query, ())
        with self._plane.open() as durable:
            letter = await _find_letter(durable, asked)
        return json_answer(views.dead_letter_in_full(letter))

    async def _replay(self, asked: Asked) -> Answer:
        _expect_nothing(asked)
        with self._plane.open() as durable:
            letter = await _find_letter(durable, asked)
            if not await durable.store.deliveries.replay(letter.request_id):
                raise UnknownRequest("dead letter", clipped(asked.name))
        return json_answer({"request_id": letter.request_id, "replayed": True})

    async def _replay_all(self, asked: Asked) -> Answer:
        Parameters(asked.query, ())
        which = _filter.read(asked.body)
        is_wanted = _goes_to(which.host)
        endpoints = endpoints_of(asked, which.model, which.environment)
        replayed = 0
        with self._plane.open() as durable:
            for endpoint in endpoints:
                # All are found before the first goes: replaying shortens the list.
                found = [
                    letter.request_id
                    async for letter in _all_letters(durable, endpoint.tag)
                    if is_wanted(letter)
                ]
                for first in range(0, len(found), _REPLAYED_AT_ONCE):
                    batch = found[first : first + _REPLAYED_AT_ONCE]
                    replayed += sum(
                        await asyncio.gather(*map(durable.store.deliveries.replay, batch))
                    )
        return json_answer({"replayed": replayed})

    async def _drop(self, asked: Asked) -> Answer:
        _expect_nothing(asked)
        with self._plane.open() as durable:
            letter = await _find_letter(durable, asked)
            if not await durable.store.deliveries.drop(letter.request_id):
                raise UnknownRequest("dead letter", clipped(asked.name))
        return json_answer({"request_id": letter.request_id, "dropped": True})

    # Signing keys: they sign the webhooks of all environments

    async def _secrets(self, asked: Asked) -> Answer:
        Parameters(asked.query, ())
        asked.reach.demand_everything()
        with self._plane.open() as durable:
            keys = await durable.store.signing_keys.list()
        return json_answer({"webhook_secrets": [views.signing_key(key) for key in keys]})

    async def _create_secret(self, asked: Asked) -> Answer:
        return await self._make_secret(asked, SigningKeys.create)

    async def _rotate_secret(self, asked: Asked) -> Answer:
        return await self._make_secret(asked, SigningKeys.rotate)

    async def _make_secret(
        self, asked: Asked, make: Callable[[SigningKeys], Awaitable[SigningKey]]
    ) -> Answer:
        _expect_nothing(asked)
        asked.reach.demand_everything()
        with self._plane.open() as durable:
            key = await make(durable.store.signing_keys)
        return json_answer(views.new_signing_key(key), 201)

    async def _delete_secret(self, asked: Asked) -> Answer:
        _expect_nothing(asked)
        asked.reach.demand_everything()
        with self._plane.open() as durable:
            if not await durable.store.signing_keys.delete(asked.name):
                raise UnknownRequest("webhook secret", clipped(asked.name))
        return json_answer({"id": asked.name, "deleted": True})


def _expect_nothing(asked: Asked) -> None:
    Parameters(asked.query, ())
    if asked.body:
        _nothing.read(asked.body)


def endpoints_of(asked: Asked, model: str | None, environment: str | None) -> list[Endpoint]:
    """The environments that are meant and reached, in a fixed order."""
    directory, reach = asked.directory, asked.reach
    if model is not None:
        reach.demand_model(model)
        if model not in directory.table.models:
            raise UnknownModel(model, directory.models(reach))
        if environment is not None:
            return [directory.environment(model, environment, reach)]
    elif environment is not None:
        reach.demand_environment(environment)
    return [
        directory.environment(each, name, reach)
        for each in ([model] if model is not None else directory.models(reach))
        for name in directory.environments(each, reach)
        if environment in (None, name)
    ]


def _goes_to(host: str | None) -> Callable[[DeadLetter], bool]:
    """Whether a dead letter is for a receiver; None: any."""
    return lambda letter: host is None or host_of(letter.url) == host.lower()


async def _find_letter(durable: Durable, asked: Asked) -> DeadLetter:
    letter = None
    if tag_of_id(asked.name) is not None:
        letter = await durable.store.deliveries.dead_letter(asked.name)
    if letter is None:
        raise UnknownRequest("dead letter", clipped(asked.name))
    asked.reach.demand_model(letter.model)
    asked.reach.demand_environment(letter.environment)
    return letter


def _fetch_letters(durable: Durable) -> Fetch[DeadLetter]:
    async def fetch(
        tag: str, cursor: str | None, limit: int
    ) -> tuple[list[DeadLetter], str | None]:
        return await durable.store.deliveries.dead_letters(tag, cursor=cursor, limit=limit)

    return fetch


async def _all_letters(durable: Durable, tag: str) -> AsyncIterator[DeadLetter]:
    fetch = _fetch_letters(durable)
    letters, cursor = await fetch(tag, None, LONGEST_LIST)
    while True:
        for letter in letters:
            yield letter
        if cursor is None:
            return
        letters, cursor = await fetch(tag, cursor, LONGEST_LIST)
