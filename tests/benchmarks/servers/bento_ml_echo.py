"""The echo model on BentoML: ``bentoml serve bento_ml_echo:Echo``.

Runs in BentoML's own environment, so it imports nothing of this project. No
``from __future__ import annotations``: BentoML reads the annotations to make its schema.
"""

import bentoml


# No access log: no system here writes one.
@bentoml.service(name="echo", workers=1, logging={"access": {"enabled": False}})
class Echo:
    """Gives the request back. Async, so that no thread pool is in its way."""

    @bentoml.api
    async def predict(self, text: str) -> dict[str, str]:
        """The JSON body, unchanged."""
        return {"text": text}
