"""What must hold of everything in a store, at any moment: read from the server itself."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

FINAL = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELED")
STATES = ("QUEUED", "IN_PROGRESS", *FINAL)
_TAG = re.compile(r"orch:\{([0-9a-f]{12})\}:")


def problems(client: redis.Redis) -> list[str]:
    """Everything that is not as it must be; empty: all is well."""
    names = sorted(name.decode() for name in client.scan_iter(count=1000))
    found = [f"{name} never expires" for name in names if client.pttl(name) == -1]
    for tag in sorted({match[1] for name in names if (match := _TAG.match(name))}):
        found += Environment(client, tag).problems()
    return found


class Environment:
    """All of one environment, as it lies in the server."""

    def __init__(self, client: redis.Redis, tag: str) -> None:
        self.client = client
        self.base = f"orch:{{{tag}}}:"
        second, micro = client.time()
        self.now = second * 1_000_000 + micro
        self.requests: dict[str, dict[str, str]] = {}
        for name in client.scan_iter(match=f"{self.base}request:*", count=1000):
            fields: Any = client.hgetall(name)
            if fields:
                request_id = name.decode().rpartition(":")[2]
                self.requests[request_id] = {
                    key.decode(): value.decode("latin-1") for key, value in fields.items()
                }
        self.index = {
            name: self._members(name)
            for name in (
                *("queue", "paused", "stays", "leases", "deliveries", "dead", "kept"),
                *(f"list:{state}" for state in STATES),
            )
        }

    def _members(self, name: str) -> dict[str, float]:
        rows: Any = self.client.zrange(self.base + name, 0, -1, withscores=True)
        return {member.decode(): score for member, score in rows}

    def problems(self) -> list[str]:
        found = [
            f"{request_id} ({fields['state']}, webhook {fields['hook']}): {problem}"
            for request_id, fields in self.requests.items()
            for problem in self._of_request(request_id, fields)
        ]
        for name, members in self.index.items():
            found += [
                f"{request_id} is in {name} and has no record"
                for request_id in members.keys() - self.requests.keys()
                # Its hash may just have expired; then the next look forgets it.
                if self.index["kept"].get(request_id, self.now) > self.now
            ]
        return found + self._of_counters()

    def _of_request(self, request_id: str, fields: dict[str, str]) -> Iterator[str]:
        state, hook = fields["state"], fields["hook"]
        within = {name for name, members in self.index.items() if request_id in members}
        expected = {f"list:{state}"}
        if state == "QUEUED":
            expected |= {"stays", "paused" if "paused" in within else "queue"}
        elif state == "IN_PROGRESS":
            expected |= {"leases"}
        else:
            expected |= {"kept"}
            expected |= {"deliveries"} if hook == "PENDING" else set()
            expected |= {"dead"} & within if hook == "FAILED" else set()
        if within != expected:
            yield f"is in {sorted(within)}, not in {sorted(expected)}"
        if ("input" in fields) == (state in FINAL):
            yield "its input is kept" if "input" in fields else "its input is gone"
        left = self.client.pttl(f"{self.base}request:{request_id}")
        tries = self.client.pttl(f"{self.base}tries:{request_id}")
        if tries != -2 and abs(tries - left) > 1000:
            yield f"its log lives for {tries} ms, it for {left} ms"
        for name in within:
            # Read one after the other, so a moment may lie between.
            if self.client.pttl(self.base + name) < left - 1000:
                yield f"{name} expires before it"

    def _of_counters(self) -> list[str]:
        opened = [fields for fields in self.requests.values() if fields["state"] not in FINAL]
        expected = Counter({"bytes": sum(int(fields["size"]) for fields in opened)})
        expected.update(f"key {fields['key']}" for fields in opened if fields["key"])
        stored: Any = self.client.hgetall(f"{self.base}open")
        counted = Counter({key.decode(): int(value) for key, value in stored.items()})
        wrong = {name for name in expected | counted if expected[name] != counted[name]}
        return [f"{name} is counted as {counted[name]}, is {expected[name]}" for name in wrong]
