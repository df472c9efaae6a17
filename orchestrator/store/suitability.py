"""Whether a server can be relied on to keep what it accepts, as far as it tells by itself."""

from __future__ import annotations

from typing import Final

OLDEST: Final = (6, 2)


def concerns(info: str) -> list[str]:
    """What about a server would lose accepted requests; empty: nothing that shows.

    Args:
        info: its answer to INFO.
    """
    said = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    found = []
    version = said.get("redis_version", "")  # Valkey tells the Redis that it stands in for
    if version_of(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        found.append(f"it is Redis {version or 'of unknown version'}; {oldest} or newer is needed")
    policy = said.get("maxmemory_policy", "noeviction")
    if said.get("maxmemory", "0") != "0" and policy != "noeviction":
        found.append(
            f"its maxmemory-policy is {policy}, by which it drops accepted requests when its "
            "memory is full; set it to noeviction"
        )
    if said.get("aof_enabled", "1") == "0":
        found.append(
            "its append-only file is off, so that its end costs all that was accepted since its "
            "last snapshot; set appendonly to yes, and appendfsync to always to lose nothing"
        )
    return found


def version_of(text: str) -> tuple[int, ...]:
    """The first two numbers of a version; (0,) where it has none."""
    numbers = text.split(".")[:2]
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else (0,)
