"""What all lanes of one table stand on: the store, the large results, the sender of webhooks."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from orchestrator.dispatcher.deliveries import Deliveries
from orchestrator.dispatcher.tales import Tales
from orchestrator.dispatcher.telling import PART
from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.lifecycle.webhook import DeliveryRules
from orchestrator.store import Retention, Store
from orchestrator.store.results import ResultStore, ResultUnavailable
from orchestrator.webhooks.receivers import ReceiverPolicy
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signatures import Secrets
from orchestrator.webhooks.traffic import Traffic

if TYPE_CHECKING:
    from orchestrator.dispatcher.telling import Telling
    from orchestrator.router.table import Results, RoutingTable, Webhooks

logger: Final = logging.getLogger("ray.serve")

SWEEP_S: Final = 3600.0
"""How often large results are looked through for those that nobody can ask for any more."""


class Base:
    """See the module. To be made on the running loop.

    Attributes:
        store: where the requests are.
        results: where their large results are.
    """

    def __init__(
        self, address: str, results: Results, webhooks: Webhooks, telling: Telling
    ) -> None:
        """Opens everything; nothing is asked of anybody yet.

        Args:
            address: of the store.
            results: the table's.
            webhooks: the table's.
            telling: what tells of all that is done.

        Raises:
            ValueError: the address or a network is not one.
        """
        retention = Retention(result_s=results.keep_s, dead_letter_s=webhooks.dead_letter_s)
        policy = ReceiverPolicy(
            allow_http=webhooks.allow_http, allowed_networks=webhooks.allowed_networks
        )
        self.store = Store.open(address, retention=retention, registry=telling.registry, part=PART)
        self.results = ResultStore(results.url, results.inline_bytes)
        self._settings = (address, results, webhooks)
        self._sender = Sender(policy, timeout_s=webhooks.timeout_s)
        self._traffic = Traffic(webhooks.per_host)
        self._secrets = Secrets(self.store.signing_keys)
        self._tales = Tales(telling)
        self._rules = DeliveryRules(tuple(webhooks.schedule_s))
        self._keep_s = results.keep_s
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep(), name="results")

    def fits(self, table: RoutingTable, address: str) -> bool:
        """Whether the lanes of such a table can stand on it."""
        return self._settings == (address, table.results, table.webhooks)

    def deliveries(self, tag: str) -> Deliveries:
        """Begins to deliver the webhooks of an environment."""
        return Deliveries(
            tag,
            webhooks=self.store.deliveries,
            secrets=self._secrets,
            sender=self._sender,
            traffic=self._traffic,
            results=self.results,
            rules=self._rules,
            tales=self._tales,
        )

    async def close(self) -> None:
        """Closes everything; to be called once no lane stands on it."""
        self._sweeping.cancel()
        await asyncio.wait({self._sweeping})
        self.results.close()
        await self._sender.close()
        await self.store.close()

    async def _sweep(self) -> None:
        while True:
            try:
                removed = await self.results.sweep(time.time(), self._keep_s, self._known)
                if removed:
                    logger.info("%d results that nobody can ask for any more are gone", removed)
            except (StoreUnreachable, ResultUnavailable) as error:
                logger.warning("old results are not removed yet: %s", error)
            except Exception:
                logger.exception("removing old results failed")
            await asyncio.sleep(SWEEP_S)

    async def _known(self, request_id: str) -> bool:
        return await self.store.requests.get(request_id) is not None
