"""What follows from the end of an attempt: the report to the store, until it is taken.

The store's verdict decides: a report under a lease that was lost changes nothing,
and then the result is dropped, since another attempt has the request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from orchestrator.dispatcher.run import Answered, Failed, NotRun, Outcome, followed
from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store.records import Error
from orchestrator.store.results import ResultUnavailable
from orchestrator.telemetry.timeline import LONGEST_SENTENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.store.records import Claim, Result
    from orchestrator.store.requests import Requests
    from orchestrator.store.results import ResultStore
    from orchestrator.telemetry.timeline import Run

logger: Final = logging.getLogger("ray.serve")

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 2.0

RESULT_TRIES: Final = 3
"""Times that a result is offered to the result store; after that the attempt has failed."""


class Settler:
    """Reports the ends of attempts to the store."""

    def __init__(
        self, requests: Requests, results: ResultStore, paused: Callable[[float], None]
    ) -> None:
        """Nothing to report yet.

        Args:
            requests: of the store.
            results: where large results go.
            paused: called when a request is put back, with the seconds until it may run.
        """
        self._requests = requests
        self._results = results
        self._paused = paused

    async def settle(self, claim: Claim, outcome: Outcome, run: Run) -> bool:
        """Reports how an attempt ended; waits for the store as long as it is away.

        Args:
            claim: what was to be run.
            outcome: of the attempt.
            run: its record, which is kept with the report; an error is written into it.

        Returns:
            Whether it was ours to report. If not, nothing has changed.
        """
        match outcome:
            case Answered():
                return await self._succeed(claim, outcome, run)
            case Failed():
                return await self._fail(claim, outcome, run)
            case NotRun():
                return await self._put_back(claim, None, outcome.pause_s, None)

    async def _succeed(self, claim: Claim, answer: Answered, run: Run) -> bool:
        try:
            result = await self._keep(claim, answer)
        except ResultUnavailable as error:
            sentence = f"The result could not be kept: {error}."
            failure = Failed(ErrorCode.INTERNAL_SERVER_ERROR, sentence)
            return await self._fail(claim, failure, run)
        done = await self._insist(
            lambda: self._requests.succeed(claim.request_id, claim.attempt, result, run)
        )
        if not done and result.reference is not None:
            await self._discard(result.reference)
        return done

    async def _fail(self, claim: Claim, failure: Failed, run: Run) -> bool:
        error = Error(failure.code, failure.message)
        run.code, run.message = failure.code.value, failure.message[:LONGEST_SENTENCE]
        if not followed(claim, failure):
            return await self._insist(
                lambda: self._requests.fail(claim.request_id, claim.attempt, error, run)
            )
        return await self._put_back(claim, error, claim.rules.pause_s(claim.attempt), run)

    async def _put_back(
        self, claim: Claim, error: Error | None, pause_s: float, run: Run | None
    ) -> bool:
        key = (claim.request_id, claim.attempt)
        done = await self._insist(lambda: self._requests.put_back(*key, error, pause_s, run))
        self._paused(pause_s)
        return done

    async def _keep(self, claim: Claim, answer: Answered) -> Result:
        backoff = BACKOFF_FIRST_S
        for left in reversed(range(RESULT_TRIES)):
            try:
                return await self._results.put(
                    claim.request_id, claim.attempt, answer.data, answer.content_type
                )
            except ResultUnavailable as error:
                logger.warning("the result of %s is not kept yet: %s", claim.request_id, error)
                if not left:
                    raise
                await asyncio.sleep(backoff)
                backoff *= 2
        raise AssertionError("the last try returns or raises")

    async def _discard(self, reference: str) -> None:
        try:
            await self._results.delete(reference)
        except ResultUnavailable as error:
            logger.info("the dropped result %s stays until it is swept: %s", reference, error)

    async def _insist(self, report: Callable[[], Awaitable[bool]]) -> bool:
        backoff = BACKOFF_FIRST_S
        while True:
            try:
                return await report()
            except StoreUnreachable:
                # The lane says so in the log, once for all of its runs.
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_LAST_S)
