"""The names of all keys. Every key of an environment has one hash tag, and so one slot.

    orch:{<tag>}:…       tag: 12 hexadecimal digits of SHA-256("<model>.<environment>")
    orch:{cluster}:…     what belongs to no environment
    orch:{timelines}:…   kept timelines of requests, of all environments

A request's id begins with its environment's tag, so its keys are known from the
id alone, also after the environment has left the config.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final

TAG_DIGITS: Final = 12
ID_DIGITS: Final = 32
_ID: Final = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")

CLUSTER_SECRETS: Final = "orch:{cluster}:webhook_secrets"
TIMELINES: Final = "orch:{timelines}:"
"""What all keys of timelines begin with."""


def tag_of(model: str, environment: str) -> str:
    """The hash tag of an environment."""
    return hashlib.sha256(f"{model}.{environment}".encode()).hexdigest()[:TAG_DIGITS]


def new_id(tag: str) -> str:
    """An id for a new request: 32 hexadecimal digits, of which 80 bits are random."""
    return tag + os.urandom((ID_DIGITS - TAG_DIGITS) // 2).hex()


def tag_of_id(request_id: str) -> str | None:
    """The tag of the environment that a request belongs to; None: that is no id of ours."""
    return request_id[:TAG_DIGITS] if _ID.fullmatch(request_id) else None


def prefix(tag: str) -> str:
    """What all keys of an environment begin with."""
    return f"orch:{{{tag}}}:"
