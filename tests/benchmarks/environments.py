"""Virtual environments of their own for systems that cannot share the project's."""

import subprocess
import sys
from collections.abc import Sequence

from tests.benchmarks.peers.base import PROJECT, PeerError

INSTALL_PATIENCE_S = 600.0


class Environment:
    """A virtual environment in ``.bench`` with exact requirements, made when it is not there."""

    def __init__(self, name: str, requirements: Sequence[str]) -> None:
        self.folder = PROJECT / ".bench" / name
        self._name = name
        self._requirements = requirements

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    def prepare(self) -> None:
        """Make it unless it is there with these requirements; raises ``PeerError``."""
        stamp = self.folder / "requirements.txt"
        wanted = "\n".join(self._requirements) + "\n"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self._run([sys.executable, "-m", "venv", "--clear", str(self.folder)])
        self._run([*pip, *self._requirements])
        stamp.write_text(wanted, encoding="utf-8")

    def _run(self, command: Sequence[str]) -> None:
        try:
            subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=INSTALL_PATIENCE_S
            )
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"{' '.join(command)} took over {error.timeout:g} s") from error
        except subprocess.CalledProcessError as error:
            reason = f"{' '.join(command)} ended with {error.returncode}:\n{error.stderr[-800:]}"
            raise self._failure(reason) from error

    def _failure(self, reason: str) -> PeerError:
        return PeerError(f"{self._name}: its environment {self.folder} cannot be made: {reason}")
