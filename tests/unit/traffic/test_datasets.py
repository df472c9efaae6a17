"""Published traces by name: where they are looked for, and what is said where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.traffic.datasets import DATASETS
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.traffic.conftest import Reading, Refusing, Writing

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
SETTINGS = {"trace": {"file": "dataset:azure-llm-2023-code"}}


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TRACES", str(tmp_path / "data"))


@pytest.mark.parametrize(
    "name",
    [
        "data/azure-llm-2023/AzureLLMInferenceTrace_code.csv",
        "data/AzureLLMInferenceTrace_code.csv",
    ],
)
def test_a_dataset_is_found_as_it_is_published(reading: Reading, write: Writing, name: str) -> None:
    write(name, AZURE)
    assert [each.prompt_tokens for each in reading(SETTINGS)] == [4808]


def test_without_the_variable_it_is_looked_for_in_the_working_directory(
    reading: Reading, write: Writing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_TRACES")
    monkeypatch.chdir(tmp_path)
    write("traces/azure-llm-2023/AzureLLMInferenceTrace_code.csv", AZURE)
    assert len(reading(SETTINGS)) == 1


def test_a_dataset_may_be_a_folder_or_compressed(reading: Reading, write: Writing) -> None:
    write("data/ServeGen/data/language/m-small/chunk-0-trace.csv", "0,1,1,Gamma,1,1\n")
    assert len(reading({"trace": {"file": "dataset:servegen-m-small"}})) == 600


def test_a_missing_dataset_says_where_it_was_looked_for_and_where_it_is_published(
    tmp_path: Path,
) -> None:
    with pytest.raises(Exception, match="is not in") as caught:
        # At once, before any request is asked for.
        arrivals(Arrivals.model_validate(SETTINGS), 1, folder=tmp_path)
    text = str(caught.value)
    assert text.startswith("dataset:azure-llm-2023-code: is not in ")
    assert str(tmp_path / "data") in text
    assert "azure-llm-2023/AzureLLMInferenceTrace_code.csv" in text
    url = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/"
    assert f"{url}AzureLLMInferenceTrace_code.csv (CC-BY-4.0)" in text


def test_an_unknown_dataset_is_told_with_the_nearest(refusing: Refusing) -> None:
    error = refusing({"trace": {"file": "dataset:azure-llm-2023-cod"}})
    assert 'did you mean "azure-llm-2023-code"?' in error.what
    assert '"mooncake-conversation"' in error.expected


def test_every_dataset_says_where_it_comes_from_and_what_may_be_done_with_it() -> None:
    for dataset in DATASETS.values():
        assert dataset.url.startswith("https://")
        assert dataset.licence in {"CC-BY-4.0", "Apache-2.0"}
        assert dataset.files
