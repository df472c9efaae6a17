"""Small experiments for tests, as text and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.config import ConfigError, Problem
from orchestrator.simulator.loading import Plan, load

if TYPE_CHECKING:
    from pathlib import Path

SMALL = """\
name: small
duration_seconds: 60
pool: {gpus: 4}
defaults:
  service: {exponential: {mean: 0.5}}
  autoscaling: {max_replica: 4, scale_down_delay: 60}
environments:
  code:
    arrivals: {poisson: {rate: 2}}
    concurrency: 2
  chat:
    arrivals: {poisson: {rate: 1}}
    autoscaling: {min_replica: 1}
"""


def loaded(folder: Path, text: str, *settings: str) -> Plan:
    """Loads a text as `small.yaml`."""
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, settings)


def refused(folder: Path, text: str, *settings: str) -> list[Problem]:
    """The problems of a text that must be refused; places without the folder."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, *settings)
    assert str(caught.value) == "\n".join(str(error) for error in caught.value.errors)
    return caught.value.errors


def sentences(folder: Path, text: str, *settings: str) -> list[str]:
    """The same as sentences, without the file's folder."""
    problems = refused(folder, text, *settings)
    return [str(problem).replace(f"{folder}/", "") for problem in problems]
