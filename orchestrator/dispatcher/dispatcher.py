"""All lanes of one dispatcher: one for each environment of the table."""

from __future__ import annotations

import asyncio
import os
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cluster_secret import ClusterSecret
from orchestrator.dispatcher.base import Base
from orchestrator.dispatcher.lane import Lane
from orchestrator.dispatcher.lane_settings import LaneSettings
from orchestrator.dispatcher.sight import sight
from orchestrator.dispatcher.telling import Telling
from orchestrator.lifecycle.async_request import LONGEST_RUN_S
from orchestrator.router.table import decode, store_address
from orchestrator.router.upstream import UpstreamPool
from orchestrator.store.keys import tag_of_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.dispatcher.permits import MakePermits
    from orchestrator.router.table import RoutingTable

RETIRING_S: Final = LONGEST_RUN_S + 60.0
"""How long runs of an environment that has left the table may take to end."""


class Stuck(Exception):  # noqa: N818 - a fact
    """A part of the dispatcher does no work any more."""


class Dispatcher:
    """Keeps a lane for each environment. To be made on the running loop."""

    def __init__(
        self,
        make_permits: MakePermits,
        env: Mapping[str, str] = os.environ,
        telling: Telling | None = None,
    ) -> None:
        """A dispatcher without a table.

        Args:
            make_permits: makes the permit client of an environment.
            env: where the store's address is found if the table refers to it, and the
                cluster's secret.
            telling: what tells of all that it does; None: nothing does.

        Raises:
            SecretError: a file of secrets is named, but not a good one.
        """
        self._telling = telling or Telling()
        self._make_permits = make_permits
        self._env = env
        self._pool = UpstreamPool(ClusterSecret.from_environment(env))
        self._base: Base | None = None
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._retiring: dict[asyncio.Task[None], list[Lane]] = {}

    def configure(self, user_config: dict[str, Any]) -> None:
        """Goes by another table: lanes come, change and go; what runs may end.

        Raises:
            ValueError: it is not a valid one, or the store's address is not known; the
                old one stays.
        """
        table = decode(user_config)
        self._telling.configure(table.telemetry)
        old, base = self._base, self._base_for(table)
        wanted = _wanted(table) if base is not None else {}
        gone = []
        for key, lane in list(self._lanes.items()):
            settings = wanted.get(key)
            if base is not old or settings is None or not lane.serves(settings):
                gone.append(self._lanes.pop(key))
            else:
                lane.reconfigure(settings)
        self._base = base
        for key in wanted.keys() - self._lanes.keys():
            if base is not None:
                self._lanes[key] = self._open(base, key, wanted[key])
        if gone or old is not base:
            self._retire(gone, None if old is base else old)

    async def sight(self, argument: bytes) -> bytes:
        """Answers the observatory's question for a request (see `orchestrator.observatory`)."""
        request_id = argument.decode(errors="replace")
        tag = tag_of_id(request_id)
        lanes = [*self._lanes.values(), *chain.from_iterable(self._retiring.values())]
        runs = () if tag is None else [lane.running(request_id) for lane in lanes]
        return sight([run for run in runs if run is not None])

    def check(self) -> None:
        """Raises `Stuck` if a lane does no work any more; a store that is away is no reason."""
        reasons = [reason for lane in self._lanes.values() if (reason := lane.stuck())]
        if reasons:
            raise Stuck("; ".join(reasons))

    async def close(self, grace_s: float) -> None:
        """Claims no more, lets what runs end, and puts back what does not.

        Args:
            grace_s: how long what runs may take to end.
        """
        lanes = list(self._lanes.values())
        self._lanes.clear()
        for retired in self._retiring.values():
            # Their task gave them longer than there is now.
            lanes.extend(retired)
        await asyncio.gather(*(lane.close(grace_s) for lane in lanes))
        if self._retiring:
            await asyncio.wait(self._retiring)
        if self._base is not None:
            await self._base.close()
            self._base = None
        self._pool.close()
        await asyncio.to_thread(self._telling.close)

    def _base_for(self, table: RoutingTable) -> Base | None:
        address = store_address(table, self._env)
        if address is None:
            return None
        if self._base is not None and self._base.fits(table, address):
            return self._base
        return Base(address, table.results, table.webhooks, self._telling)

    def _open(self, base: Base, key: tuple[str, str], settings: LaneSettings) -> Lane:
        return Lane(
            *key,
            settings,
            store=base.store,
            results=base.results,
            make_deliveries=base.deliveries,
            make_permits=self._make_permits,
            pool=self._pool,
            telling=self._telling,
        )

    def _retire(self, lanes: list[Lane], base: Base | None) -> None:
        """Lets lanes come to their end, and then what they stood on, if nothing else does."""
        task = asyncio.get_running_loop().create_task(_close(lanes, base))
        self._retiring[task] = lanes
        task.add_done_callback(self._retiring.pop)


async def _close(lanes: list[Lane], base: Base | None) -> None:
    await asyncio.gather(*(lane.close(RETIRING_S) for lane in lanes))
    if base is not None:
        await base.close()


def _wanted(table: RoutingTable) -> dict[tuple[str, str], LaneSettings]:
    return {
        (model, name): LaneSettings(environment, table.lease_s, table.results.max_bytes)
        for model, entry in table.models.items()
        for name, environment in entry.environments.items()
    }
