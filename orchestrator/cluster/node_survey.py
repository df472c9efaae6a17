"""What one node has of what our processes need there.

`look` runs on each node of a cluster. It is sent there whole, as a node may lack this
package or have another release of it: only the standard library is used here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ANSWER: Final = "no_answer"
"""Key of the reason, in place of all others, where a node could not be asked."""


def look(question: Mapping[str, Any]) -> dict[str, Any]:
    """What this node has.

    Args:
        question: `variables`: names of environment variables whose values are asked
            for; `present`: names of those of which only is asked whether they are set;
            `modules`: modules that are looked for, not imported; `distribution`: the
            package whose version is asked for; `package`: a module of it; `secret`:
            name of the variable that has the path of the file with the cluster's
            secrets; `shortest`: characters that each of them must have.

    Returns:
        `variables`, `present` and `modules` by name; `version` (None: not installed);
        `package`; `python`; and `secrets`: SHA-256 of each line, a text that says why
        the file is of no use, or None where no file is named.
    """
    return {
        "variables": {name: os.environ.get(name) for name in question["variables"]},
        "present": {name: bool(os.environ.get(name)) for name in question["present"]},
        "modules": {module: _there(module) for module in question["modules"]},
        "version": _version(question["distribution"]),
        "package": _there(question["package"]),
        "python": platform.python_version(),
        "secrets": _secrets(os.environ.get(question["secret"], ""), question["shortest"]),
    }


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _secrets(path: str, shortest: int) -> list[str] | str | None:
    if not path:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").split()
    except OSError as error:
        return f"{path}: {error.strerror}"
    except UnicodeDecodeError:
        return f"{path}: it is not text"
    if not lines or min(map(len, lines)) < shortest:
        return f"{path}: it must have one secret a line, of {shortest} characters or more"
    return [hashlib.sha256(line.encode()).hexdigest() for line in lines]
