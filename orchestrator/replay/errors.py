"""Why a replay does not begin."""

from __future__ import annotations


class ReplayError(Exception):
    """The target, or the experiment, does not allow a replay; the message says what would be right."""
