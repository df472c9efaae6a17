"""A model that never starts."""

from typing import Any


class FailsToLoad:
    """Says why, as a model with broken weights does."""

    def load(self) -> None:
        raise OSError("weights.bin is truncated at byte 4096")

    def predict(self, body: Any) -> Any:
        return body
