"""Request ids: the caller's if it is a sane one, else a new one."""

from __future__ import annotations

import os
import re
from typing import Final

_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}").fullmatch
_ID_BYTES: Final = 16
_BATCH: Final = 256


def sane(given: bytes) -> bool:
    """Whether an id from outside may go into logs and headers as it is."""
    return _SANE(given) is not None


class RequestIds:
    """New request ids: 32 hexadecimal digits, 128 random bits each."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[bytes] = []

    def new(self) -> bytes:
        """One that was never given out."""
        if not self._left:
            # One system call for many: it costs more than the rest of an id.
            pool = os.urandom(_ID_BYTES * _BATCH).hex().encode("ascii")
            digits = _ID_BYTES * 2
            self._left = [pool[i : i + digits] for i in range(0, len(pool), digits)]
        return self._left.pop()
