"""The scripts, one a step. A script names the files that go in front of it.

    -- include: life webhook

`names.lua` goes in front of all that work on an environment.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

_INCLUDE: Final = re.compile(r"\A-- include: (?P<names>[a-z_ ]+)\n")


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source, and the digest by which the server knows it once it has seen it."""

    source: str
    digest: str


@cache
def environment_script(name: str) -> Script:
    """A script that works on one environment."""
    text = _read(name)
    included = _INCLUDE.match(text)
    parts = ["names", *(included["names"].split() if included else ())]
    return _script("\n".join([*(_read(part) for part in parts), text]))


@cache
def bare_script(name: str) -> Script:
    """A script that works on something else."""
    return _script(_read(name))


def _script(source: str) -> Script:
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
