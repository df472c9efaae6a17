"""A small config that is right, to be changed into ones that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from orchestrator.config import Config, ConfigError, Problem, load

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALL = """\
cluster:
  name: small
models:
  echo:
    deployments:
      v1:
        runner: {type: python, class: "replicas.examples.echo:Echo"}
        concurrency: 4
    environments:
      production: {deployment: v1}
"""


class Loading(Protocol):
    """Loads YAML text as `cluster.yaml`."""

    def __call__(self, text: str, env: Mapping[str, str] | None = None) -> Config: ...


class Refusing(Protocol):
    """Loads YAML text that must be refused, and gives the problems."""

    def __call__(self, text: str, env: Mapping[str, str] | None = None) -> list[Problem]: ...


@pytest.fixture
def small() -> str:
    return SMALL


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loading:
    monkeypatch.chdir(tmp_path)
    path = Path("cluster.yaml")

    def load_text(text: str, env: Mapping[str, str] | None = None) -> Config:
        path.write_text(text, encoding="utf-8")
        return load(path, env or {})

    return load_text


@pytest.fixture
def refused(loaded: Loading) -> Refusing:
    def refuse_text(text: str, env: Mapping[str, str] | None = None) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            loaded(text, env)
        assert str(caught.value) == "\n".join(str(error) for error in caught.value.errors)
        return caught.value.errors

    return refuse_text
