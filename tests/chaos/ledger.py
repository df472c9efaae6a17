"""What a chaos run must add up to."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

FINAL = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELED")


@dataclass
class Ledger:
    """Everything that was accepted, and what became of it.

    Attributes:
        accepted: ids that submissions were answered with.
        submissions: HTTP calls that it took to get them accepted.
        statuses: the last answer about each id; None: unknown.
        dead: ids in the dead letters.
        bodies: deliveries that the receiver took, by id.
        canceled: ids that a cancel was confirmed for.
        killed: what was killed, in order.
        leases: leases that are left in the store.
        immortal: keys of the store that have no expiry.
        open: requests that the store counts as not ended.
        forged: deliveries with a wrong signature.
        refusals: submissions that were answered 503, by whether `Retry-After` was there.
        during_outage: statuses of synchronous requests while the store did not answer.
        seconds: of the whole run.
    """

    accepted: list[str] = field(default_factory=list)
    submissions: int = 0
    statuses: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)
    leases: int = 0
    immortal: list[str] = field(default_factory=list)
    open: int = 0
    forged: int = 0
    refusals: Counter[bool] = field(default_factory=Counter)
    during_outage: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def ends(self) -> Counter[str]:
        """How many ended how; what callers see as WEBHOOK_FAILED has succeeded."""
        ends = Counter(str(s["status"]) if s else "UNKNOWN" for s in self.statuses.values())
        ends["SUCCEEDED"] += ends.pop("WEBHOOK_FAILED", 0)
        return ends

    def faults(self) -> list[str]:
        """Every promise that was broken, as a sentence."""
        ends = self.ends
        unknown = [id_ for id_ in self.accepted if self.statuses.get(id_) is None]
        pairs = [
            (unknown, "accepted and not known"),
            (self._undelivered(), "ended, and neither delivered nor a dead letter"),
            (self._contradicted(), "reported with different results"),
            ([i for i in self.canceled if self._status(i) != "CANCELED"], "canceled, and ran on"),
        ]
        faults = [f"{len(ids)} {what}, as {ids[0]}" for ids, what in pairs if ids]
        if len(set(self.accepted)) != len(self.accepted):
            faults.append("two submissions were answered with the same id")
        if sum(ends[state] for state in FINAL) != len(self.accepted):
            faults.append(f"{len(self.accepted)} accepted, but the ends are {dict(ends)}")
        counts = [(self.leases, "leases left"), (self.open, "counted as open")]
        counts.append((self.forged, "deliveries with a wrong signature"))
        counts.append((self.refusals[False], "times 503 without Retry-After"))
        unserved = self.during_outage.total() - self.during_outage[200]
        counts.append((unserved, "synchronous requests failed while the store was away"))
        faults += [f"{count} {what}" for count, what in counts if count]
        if self.immortal:
            faults.append(f"{len(self.immortal)} keys without expiry, as {self.immortal[0]}")
        return faults

    def __str__(self) -> str:
        ends = self.ends
        tries = sum(len(bodies) for bodies in self.bodies.values())
        retries = self.submissions - len(self.accepted)
        lines = [
            f"killed       {', '.join(self.killed) or 'nothing'}",
            f"accepted     {len(self.accepted):6d}   in {self.submissions} calls, {retries} repeated",
            *(f"{state:12s} {ends[state]:6d}" for state in FINAL),
            f"delivered    {len(self.bodies):6d}   {tries - len(self.bodies)} of them once more",
            f"dead letters {len(self.dead):6d}",
            f"left over    {self.leases} leases, {self.open} open, {len(self.immortal)} keys immortal",
            f"503          {self.refusals.total():6d}   to submissions",
            f"synchronous  {self.during_outage[200]:6d}   answered while the store was away",
            f"took         {self.seconds:6.1f} s",
        ]
        faults = self.faults()
        lines += [f"FAULT: {fault}" for fault in faults] or ["it adds up"]
        return "\n".join(lines)

    def _status(self, request_id: str) -> str:
        status = self.statuses.get(request_id)
        return str(status["status"]) if status else "UNKNOWN"

    def _undelivered(self) -> list[str]:
        return [
            id_
            for id_ in self.accepted
            if self._status(id_) != "CANCELED" and id_ not in self.bodies and id_ not in self.dead
        ]

    def _contradicted(self) -> list[str]:
        """Ids whose deliveries differ among themselves or from what polling says."""
        wrong = []
        for id_, bodies in self.bodies.items():
            reports = [json.loads(body)["data"] for body in bodies]
            status = self.statuses.get(id_)
            if status is not None and status["status"] in ("SUCCEEDED", "WEBHOOK_FAILED"):
                reports.append(status["result"])
            if any(report != reports[0] for report in reports):
                wrong.append(id_)
        return wrong
