"""Calls to a running cluster, as its callers and its operators make them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from orchestrator.http_connection import Answer, CallError, Connection

__all__ = ["OPEN_STATES", "Answer", "CallError", "ClusterClient"]

OPEN_STATES = frozenset({"QUEUED", "IN_PROGRESS"})
"""What an asynchronous request is until it has ended."""

LONGEST_POLL_SECONDS = 60.0
"""How long one call waits for an asynchronous request to end; then it asks again."""

_SILENCE_SECONDS = 30.0
"""Events come with heartbeats; after so long without one the connection is dead."""

_NAMED_TARGETS = frozenset({"production", "development"})


class ClusterClient(Connection):
    """What callers and operators ask of a cluster; every method raises `CallError`.

    Arguments `model` and `environment` are names; ids of requests are texts as the
    cluster gives them. Read parts of answers are dicts as its API has them.
    """

    async def predict(
        self,
        model: str,
        environment: str,
        data: Any,
        *,
        on_chunk: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """Run a model; `data` is any JSON value, `on_chunk` gets the body as it comes."""
        path = f"{_target(model, environment)}/predict"
        return await self.post(path, data, on_chunk=on_chunk)

    async def submit(self, model: str, environment: str, data: Any, **options: Any) -> str:
        """Hand over a request to be run later; its id.

        Args:
            model: its name.
            environment: its name.
            data: the model's input, a JSON object.
            options: other fields of the body, such as `webhook_endpoint`; None: left out.
        """
        given = {name: value for name, value in options.items() if value is not None}
        path = f"{_target(model, environment)}/async_predict"
        answer = await self.post(path, {"model_input": data, **given})
        request_id: str = json.loads(answer.body)["request_id"]
        return request_id

    async def async_request(self, request_id: str, *, wait_seconds: float = 0.0) -> dict[str, Any]:
        """An asynchronous request as it is once it has ended, or after `wait_seconds`."""
        deadline = time.monotonic() + wait_seconds
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            wait = min(left, LONGEST_POLL_SECONDS)
            query = {"wait": f"{wait:.3f}"} if wait else {}
            found: dict[str, Any] = await self.get(f"/async_request/{_part(request_id)}", query)
            if left <= wait or found["status"] not in OPEN_STATES:
                return found

    async def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel an asynchronous request; `canceled` says whether that was still possible."""
        async with self.request("DELETE", f"/async_request/{_part(request_id)}") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def async_requests(
        self, model: str, environment: str, *, status: str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The newest asynchronous requests of an environment, without their results."""
        query = {"status": status} if status is not None else {}
        path = f"{_target(model, environment)}/async_requests"
        return await self.listed(path, "async_requests", query, limit)

    async def all_async_requests(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """The newest asynchronous requests of all environments that fit; needs the scope `manage`."""
        query = _given(model=model, environment=environment, status=status)
        return await self.listed("/api/v1/async_requests", "async_requests", query, limit)

    async def deliveries(self, request_id: str) -> dict[str, Any]:
        """Where the webhook of a request went, try by try."""
        path = f"/api/v1/async_requests/{_part(request_id)}/deliveries"
        found: dict[str, Any] = await self.get(path)
        return found

    async def dead_letters(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        host: str | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Webhooks that were given up, those that fit, newest first of each environment."""
        query = _given(model=model, environment=environment, host=host)
        return await self.listed("/api/v1/dead_letters", "dead_letters", query, limit)

    async def dead_letter(self, request_id: str) -> dict[str, Any]:
        """A webhook that was given up, with its tries."""
        found: dict[str, Any] = await self.get(f"/api/v1/dead_letters/{_part(request_id)}")
        return found

    async def replay(self, request_id: str) -> None:
        """Send a webhook that was given up again, from the first try on."""
        await self.post(f"/api/v1/dead_letters/{_part(request_id)}/replay", {})

    async def replay_all(
        self, *, model: str | None = None, environment: str | None = None, host: str | None = None
    ) -> int:
        """Send all webhooks again that were given up and fit; how many."""
        which = _given(model=model, environment=environment, host=host)
        answer = await self.post("/api/v1/dead_letters/replay", which)
        replayed: int = json.loads(answer.body)["replayed"]
        return replayed

    async def drop(self, request_id: str) -> None:
        """Forget a webhook that was given up."""
        async with self.request("DELETE", f"/api/v1/dead_letters/{_part(request_id)}"):
            return

    async def webhook_secrets(self) -> list[dict[str, Any]]:
        """The keys that webhooks are signed with, without their secrets."""
        found: list[dict[str, Any]] = (await self.get("/api/v1/webhook_secrets"))["webhook_secrets"]
        return found

    async def create_webhook_secret(self, *, rotate: bool = False) -> dict[str, Any]:
        """A new signing key with its secret, which is told only now.

        Args:
            rotate: whether the others are used for a day more only.
        """
        answer = await self.post(f"/api/v1/webhook_secrets{'/rotate' if rotate else ''}", {})
        created: dict[str, Any] = json.loads(answer.body)
        return created

    async def delete_webhook_secret(self, key_id: str) -> None:
        """Sign nothing with this key from now on."""
        async with self.request("DELETE", f"/api/v1/webhook_secrets/{_part(key_id)}"):
            return

    async def queue_status(self, model: str, environment: str) -> dict[str, Any]:
        """How many asynchronous requests of an environment wait and run."""
        path = f"{_target(model, environment)}/async_queue_status"
        found: dict[str, Any] = await self.get(path)
        return found

    async def wake(self, model: str, environment: str) -> None:
        """Start a replica of an environment if it has none."""
        async with self.request("POST", f"{_target(model, environment)}/wake"):
            return

    async def environment(self, model: str, environment: str) -> dict[str, Any]:
        """An environment: its settings, `status`, and `live` from its queue."""
        found: dict[str, Any] = await self.get(
            f"/api/v1/models/{_part(model)}/environments/{_part(environment)}"
        )
        return found

    async def environments(self) -> list[dict[str, Any]]:
        """Every environment of every model that the key may see, as `environment` gives it.

        One whose queue does not answer has the status UNHEALTHY and says so. Each has
        `async` besides: `queued`, `in_progress`, and whether there are `dead_letters`;
        None where that cannot be told.
        """
        models = (await self.get("/api/v1/models"))["models"]
        names = [
            (model["name"], environment["name"])
            for model in models
            for environment in model["environments"]
        ]
        found = await asyncio.gather(*(self._environment_or_why_not(*pair) for pair in names))
        later = await asyncio.gather(*(self._async_or_none(*pair) for pair in names))
        return [
            {**environment, "async": each}
            for environment, each in zip(found, later, strict=True)
            if environment is not None
        ]

    async def timeline(self, request_id: str) -> dict[str, Any]:
        """Where a request was and for how long, as `telemetry.waterfall` has it."""
        found: dict[str, Any] = await self.get(f"/api/v1/requests/{_part(request_id)}/timeline")
        return found

    async def recent_requests(self, **wanted: str | float | bool | None) -> dict[str, Any]:
        """`requests`, newest first; and of the `routers` asked, how many are `missing`.

        Args:
            wanted: filters by the names that the API has for them; None and False: none.
        """
        query = {
            name: "true" if value is True else f"{value}"
            for name, value in wanted.items()
            if value is not None and value is not False
        }
        found: dict[str, Any] = await self.get("/api/v1/requests", query)
        return found

    async def overview(self) -> dict[str, Any]:
        """How all environments are, at a glance."""
        found: dict[str, Any] = await self.get("/api/v1/overview")
        return found

    async def overviews(self) -> AsyncGenerator[dict[str, Any]]:
        """Overviews as they change: first a whole one, then the rows that are new."""
        async with aclosing(self.lines("/api/v1/events", silence_s=_SILENCE_SECONDS)) as lines:
            data: list[bytes] = []
            async for line in lines:
                if line.startswith(b"data:"):
                    data.append(line.removeprefix(b"data:").strip())
                elif not line and data:
                    yield json.loads(b"\n".join(data))
                    data.clear()

    async def logs(
        self,
        model: str,
        environment: str,
        *,
        replica: str | None = None,
        request: str | None = None,
        lines: int = 200,
        follow: bool = False,
    ) -> AsyncGenerator[dict[str, Any]]:
        """Lines that an environment's replicas have logged, oldest first.

        Args:
            model: its name.
            environment: its name.
            replica: only those of this one.
            request: only those of this request.
            lines: the newest so many.
            follow: whether to go on with those that come.
        """
        path = f"/api/v1/models/{_part(model)}/environments/{_part(environment)}/logs"
        query = _given(replica=replica, request=request, follow="true" if follow else None)
        async with aclosing(self.lines(path, query | {"lines": str(lines)})) as found:
            async for line in found:
                if line.strip():
                    yield json.loads(line)

    async def _environment_or_why_not(self, model: str, name: str) -> dict[str, Any] | None:
        try:
            return await self.environment(model, name)
        except CallError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return None
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            live = {"status": "UNHEALTHY", "reason": str(error)}
            return {"model": model, "name": name, "status": "UNHEALTHY", "live": live}

    async def _async_or_none(self, model: str, name: str) -> dict[str, Any] | None:
        try:
            depth = await self.queue_status(model, name)
            dead = await self.dead_letters(model=model, environment=name, limit=1)
        except CallError as error:
            if error.status is None:
                raise
            return None  # the store is away, or the key does not reach that far
        return {
            "queued": depth["num_queued_requests"],
            "in_progress": depth["num_in_progress_requests"],
            "dead_letters": bool(dead),
        }


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _part(name: str) -> str:
    """A name as one part of a path, whatever it has in it."""
    return quote(name, safe="")


def _target(model: str, environment: str) -> str:
    named = environment in _NAMED_TARGETS
    target = environment if named else f"environments/{_part(environment)}"
    return f"/models/{_part(model)}/{target}"
