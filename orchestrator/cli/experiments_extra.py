"""What `simulate`, `compare` and `replay` need beyond the rest: the extra `experiments`."""

from importlib.util import find_spec
from typing import Final

import typer

from orchestrator.cli.terminal import REFUSED, err

LIBRARIES: Final = ("numpy", "matplotlib", "datasketches")
"""Of the extra `experiments`. Only looked for here: importing them takes a second."""


def require() -> None:
    """Refuse to go on where the extra `experiments` is not installed, and say how to get it."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        err.print(
            f"error: experiments need {' and '.join(missing)}: "
            "pip install 'orchestrator-serve[experiments]'",
            style="red",
            markup=False,
        )
        raise typer.Exit(REFUSED)
