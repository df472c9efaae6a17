"""Each test gets what an overlay renders to; without kubectl or kustomize there is nothing to test."""

from __future__ import annotations

import os

import pytest

from tests.kubernetes import manifests
from tests.kubernetes.manifests import OVERLAYS, Document, PodTemplate


@pytest.fixture(scope="session")
def kustomize() -> list[str]:
    """The command that builds a kustomization, but for its folder."""
    command = manifests.builder()
    if command is None:
        reason = "neither kubectl nor kustomize is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return command


@pytest.fixture(params=OVERLAYS)
def overlay(request, kustomize) -> str:
    """The name of an overlay, or "base"."""
    name: str = request.param
    return name


@pytest.fixture
def documents(overlay) -> list[Document]:
    """All that the overlay renders to."""
    return manifests.documents(OVERLAYS[overlay])


@pytest.fixture
def pods(documents) -> list[PodTemplate]:
    """All kinds of pods of the overlay."""
    return list(manifests.pod_templates(documents))
