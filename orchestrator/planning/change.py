"""One thing that deploying a file would do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.planning.file_fields import FileField


class Kind(StrEnum):
    """What becomes of a part of the cluster, from the least to the most."""

    IN_PLACE = "in place"
    ADDED = "added"
    RESTARTS_OBSERVATORY = "restarts observatory"
    RESTARTS_DISPATCHERS = "restarts dispatchers"
    RESTARTS_ROUTERS = "restarts routers"
    RESTARTS_QUEUE = "restarts queue"
    RESTARTS_REPLICAS = "restarts replicas"
    RESTARTS_QUEUE_AND_REPLICAS = "restarts queue and replicas"
    REMOVED = "removed"
    NEW_CLUSTER = "new cluster"
    REFUSED = "refused"

    @property
    def disruptive(self) -> bool:
        """Whether something that runs is ended, replaced, or cannot be changed."""
        return self not in (Kind.IN_PLACE, Kind.ADDED)


@dataclass(frozen=True, slots=True)
class Change:
    """What deploying does to one part.

    Attributes:
        part: `model/environment`, `router`, `dispatcher`, `observatory`, `cluster`, …
        kind: what becomes of it.
        fields: of the file, that cause it; none where the part itself comes or goes.
        notice: what callers notice, in a sentence or two.
    """

    part: str
    kind: Kind
    fields: tuple[FileField, ...]
    notice: str

    def as_json(self) -> dict[str, Any]:
        """For programs. Values that may be secret are left out."""
        fields = [
            {"path": field.path, "secret": True}
            if field.secret
            else {"path": field.path, "old": field.old, "new": field.new}
            for field in self.fields
        ]
        return {
            "part": self.part,
            "kind": str(self.kind),
            "fields": fields,
            "notice": self.notice,
        }
