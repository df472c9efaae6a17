"""Which release of this software runs."""

from __future__ import annotations

from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "orchestrator-serve"


def version() -> str:
    """The installed version, or one that says that the source tree runs as it is."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+source"
