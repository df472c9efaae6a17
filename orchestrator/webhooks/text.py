"""Text from strangers, made fit to be shown."""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")


def harmless(text: str) -> str:
    """A text without control characters, which terminals obey, but for line ends and tabs."""
    return _CONTROL.sub("\ufffd", text)
