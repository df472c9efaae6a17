"""Who tells, what of it is new, and who has gone silent. Pure; `now` is any monotonic clock's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.observatory.protocol import SILENT_AFTER, Ack, Part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from orchestrator.observatory.protocol import Push, Source
    from orchestrator.telemetry.instruments import Labels

REMEMBERED_S: Final = 600.0
"""For so long a source that has gone is not counted twice if its last push comes again."""

SHORTEST_PAUSE_S: Final = 1.0
SOURCES_A_SECOND: Final = 300
"""Pushes that the observatory wants to get in a second, at most."""

LONGEST_PAUSE_S: Final = 5.0


@dataclass(slots=True, eq=False)
class Known:
    """A source that tells.

    Attributes:
        source: who it is.
        heard: when it last told something.
        silent_at: when it counts as gone, if nothing more is heard.
        gauges: its gauges, as last told.
        state: its sections, as last told.
        superseded: another queue of the same environment has taken its place.
    """

    source: Source
    heard: float
    silent_at: float
    gauges: dict[tuple[str, Labels], float] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    superseded: bool = False


class Sources:
    """All sources that tell."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._seqs: dict[str, tuple[int, float]] = {}
        self._queues: dict[tuple[str, str], Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._known.values()))

    def get(self, source_id: str) -> Known | None:
        """A source that tells."""
        return self._known.get(source_id)

    def queue(self, model: str, environment: str) -> Known | None:
        """The queue of an environment."""
        return self._queues.get((model, environment))

    def of(
        self, parts: Collection[str], model: str = "", environment: str = "", replica: str = ""
    ) -> list[Known]:
        """Those of some parts; of one environment, or one replica, where that is given."""
        return [
            known
            for known in self._known.values()
            if known.source.part in parts
            and (not model or known.source.model == model)
            and (not environment or known.source.environment == environment)
            and (not replica or known.source.replica == replica)
        ]

    def hear(self, push: Push, now: float) -> tuple[Known, bool, Ack]:
        """Takes in a push, but for its batch.

        Returns:
            The source; whether the push is news, so that its batch counts; the answer.
        """
        source = push.source
        last_seq, _ = self._seqs.get(source.id, (0, now))
        news = push.seq > last_seq
        if news:
            self._seqs[source.id] = (push.seq, now)
        known = self._known.get(source.id)
        # The first push has everything in it; one of a source that is new here has not.
        complete = known is not None or push.seq == 1
        if known is None:
            known = Known(source, now, now)
        known.heard = now
        known.silent_at = now + push.within_s * SILENT_AFTER
        if news:
            known.state.update(push.state)
        if push.within_s <= 0:
            self._drop(known)
        else:
            self._known[source.id] = known
            self._take_place(known)
        return known, news, Ack(complete, self.pause_s)

    @property
    def pause_s(self) -> float:
        """How long sources are to pause between two pushes."""
        return min(max(SHORTEST_PAUSE_S, len(self._known) / SOURCES_A_SECOND), LONGEST_PAUSE_S)

    def expire(self, now: float) -> list[Known]:
        """Lets go of those that have gone silent."""
        gone = [known for known in self._known.values() if now >= known.silent_at]
        for known in gone:
            self._drop(known)
        for source_id in [i for i, (_, at) in self._seqs.items() if now - at > REMEMBERED_S]:
            if source_id not in self._known:
                del self._seqs[source_id]
        return gone

    def _drop(self, known: Known) -> None:
        source = known.source
        self._known.pop(source.id, None)
        place = (source.model, source.environment)
        if source.part == Part.QUEUE and self._queues.get(place) is known:
            del self._queues[place]

    def _take_place(self, known: Known) -> None:
        """Of two queues of one environment, the one that was heard of later is the one."""
        source = known.source
        if source.part != Part.QUEUE or known.superseded:
            return
        place = (source.model, source.environment)
        before = self._queues.get(place)
        if before is not None and before is not known:
            before.superseded = True
            before.gauges = {}
        self._queues[place] = known
