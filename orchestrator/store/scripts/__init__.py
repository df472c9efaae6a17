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
    """A script: its name, its source, and the digest by which the server knows it once seen."""

    name: str
    source: str
    digest: str


@cache
def environment_script(name: str) -> Script:
    """A script that works on one environment."""
    return _script(name, "names")


@cache
def bare_script(name: str) -> Script:
    """A script that works on something else."""
    return _script(name)


def _script(name: str, *before: str) -> Script:
    text = _read(name)
    included = _INCLUDE.match(text)
    parts = [*before, *(included["names"].split() if included else ())]
    source = "\n".join([*(_read(part) for part in parts), text])
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
