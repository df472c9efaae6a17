"""API keys: `prefix.secret`, of which only a hash of the secret is known here."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from orchestrator.router.table import Auth, Key

INFERENCE: Final = "inference"
MANAGE: Final = "manage"

_SCHEMES: Final = (b"bearer", b"api-key")
_NO_KEY: Final = hashlib.sha256(b"compared with when the prefix is unknown").hexdigest()


class Reach:
    """What a valid key may do and see. Without authentication: everything.

    Attributes:
        prefix: of the key; empty without authentication.
    """

    __slots__ = ("_environments", "_models", "_scopes", "prefix")

    def __init__(self, key: Key | None, prefix: str = "") -> None:
        self.prefix = prefix
        self._scopes = None if key is None else frozenset(key.scopes)
        self._models = None if key is None or key.models is None else frozenset(key.models)
        self._environments = (
            None if key is None or key.environments is None else frozenset(key.environments)
        )

    def demand(self, scope: str) -> None:
        """Raises `Forbidden` without that scope."""
        if self._scopes is not None and scope not in self._scopes:
            raise Forbidden(f"the scope `{scope}`")

    def demand_model(self, model: str) -> None:
        """Raises `Forbidden` for a model that it is not made for, also one that does not exist."""
        if not self.sees_model(model):
            raise Forbidden(f"access to the model `{model}`")

    def demand_environment(self, environment: str) -> None:
        """Raises `Forbidden` for an environment that it is not made for."""
        if not self.sees_environment(environment):
            raise Forbidden(f"access to the environment `{environment}`")

    def demand_everything(self) -> None:
        """Raises `Forbidden` unless it reaches all models and all environments."""
        if self.limited_to_places:
            raise Forbidden("access to every model and environment")

    def sees_model(self, model: str) -> bool:
        """Whether the model is within its reach."""
        return self._models is None or model in self._models

    def sees_environment(self, environment: str) -> bool:
        """Whether environments of that name are within its reach."""
        return self._environments is None or environment in self._environments

    @property
    def limited(self) -> bool:
        """Whether there is anything that it does not reach."""
        return not (self._scopes is None and self._models is None and self._environments is None)

    @property
    def limited_to_places(self) -> bool:
        """Whether there are models or environments that it does not reach."""
        return self._models is not None or self._environments is not None


UNLIMITED: Final = Reach(None)


class Keyring:
    """The keys that are valid. The same work is done for every key, valid or not."""

    __slots__ = ("_keys",)

    def __init__(self, auth: Auth) -> None:
        self._keys = {
            prefix.encode("utf-8"): (key.sha256.lower(), Reach(key, prefix))
            for prefix, key in auth.keys.items()
        }

    def check(self, authorization: bytes | None) -> Reach:
        """What the bearer of an Authorization header may do.

        Raises:
            Unauthorized: there is no key in it, or not a valid one.
        """
        scheme, _, given = (authorization or b"").strip().partition(b" ")
        prefix, _, secret = given.strip().partition(b".")
        known = self._keys.get(prefix)
        expected, reach = known if known is not None else (_NO_KEY, None)
        matches = hmac.compare_digest(hashlib.sha256(secret).hexdigest(), expected)
        if not matches or reach is None or scheme.lower() not in _SCHEMES:
            raise Unauthorized
        return reach
