"""Whether a replay tells of the cluster, or of the machine that sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.replay.lags import Lags

LAG_S: Final = 0.005
"""99 % of the requests must be sent no later than this,"""
LAG_SHARE: Final = 0.01
"""or than this share of the median latency, where that is more."""

MISSED_SHARE: Final = 0.1
"""Of the questions for levels may have got no answer."""


def faults(
    *,
    lags: Lags,
    median_s: float,
    waited: int,
    most: int,
    missed: int,
    asked: int,
    stopped: bool,
    cut: int,
) -> Iterator[str]:
    """Why a replay is not valid, one sentence each; none: it is.

    Args:
        lags: how late requests were sent.
        median_s: the median latency of those that were answered.
        waited: how often one could not be sent because `most` were under way.
        most: requests under way at once at most.
        missed: questions for levels that got no answer, out of `asked`.
        asked: of them.
        stopped: whether it was ended before its time.
        cut: requests that were under way then.
    """
    if stopped:
        yield f"it was stopped after {lags.count} requests, {cut} of which had not ended"
    bound = max(LAG_S, LAG_SHARE * median_s)
    late = lags.within(0.99)
    if late > bound:
        yield (
            f"1 % of the requests were sent more than {late * 1000:.1f} ms late, which is over "
            f"{bound * 1000:.1f} ms: this machine had no time to send them"
        )
    if waited:
        yield f"{waited} requests had to wait because {most} were under way"
    if asked and missed > MISSED_SHARE * asked:
        yield f"{missed} of {asked} questions for replicas and line got no answer"
