"""Running the scripts of an environment's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.store import keys
from orchestrator.store.scripts import environment_script

if TYPE_CHECKING:
    from orchestrator.store.connection import Connection


class Steps:
    """Scripts by name, on an environment or on one request. All may raise StoreUnreachable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, script: str, tag: str, *arguments: Any) -> Any:
        """Runs a script on the environment of this tag, and gives its answer."""
        return await self._connection.run(environment_script(script), keys.prefix(tag), *arguments)

    async def run_on(self, script: str, request_id: str, *arguments: Any) -> Any:
        """Runs a script that takes a request's id first; None where that is no id."""
        tag = keys.tag_of_id(request_id)
        return None if tag is None else await self.run(script, tag, request_id, *arguments)

    async def changed(self, script: str, request_id: str, *arguments: Any) -> bool:
        """As `run_on`: whether the script says that it did what was asked."""
        return bool(await self.run_on(script, request_id, *arguments))
