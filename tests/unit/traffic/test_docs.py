"""What docs/traffic.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.traffic.datasets import DATASETS
from orchestrator.traffic.settings import SOURCES, Arrivals

PAGE = (Path(__file__).parents[3] / "docs" / "traffic.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_is_valid(example: str) -> None:
    Arrivals.model_validate(YAML(typ="safe").load(example)["arrivals"])


def test_every_dataset_is_listed_as_it_is() -> None:
    for name, dataset in DATASETS.items():
        row = f"| `{name}` | `{dataset.files[0]}` | [{dataset.what}]({dataset.url}) | "
        assert f"{row}{dataset.licence} |" in PAGE


def test_every_setting_is_explained() -> None:
    for name in {*SOURCES, *Arrivals.model_fields}:
        assert f"`{name}`" in PAGE or f"{name}:" in PAGE, name
