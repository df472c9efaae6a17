"""Published traces that experiments name: `file: dataset:NAME`. None of them is shipped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.config.problems import listed, suggestion
from orchestrator.traffic.errors import TrafficError

PREFIX: Final = "dataset:"
VARIABLE: Final = "ORCHESTRATOR_TRACES"
"""Environment variable that names the folder with the traces."""

DEFAULT_FOLDER: Final = "traces"
"""Where they are looked for without it, in the working directory."""

COMPRESSED: Final = ("", ".gz", ".zst")

_AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/"
_AZURE_2024 = "https://azurepublicdatasettraces.blob.core.windows.net/azurellminfererencetrace/"
_MOONCAKE = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/"
_SERVEGEN = "https://github.com/alibaba/ServeGen/tree/main/data/"
_SPLITWISE = "Patel et al., Splitwise, ISCA 2024"


class Dataset(NamedTuple):
    """A published trace.

    Attributes:
        what: what it holds, and where that is described.
        url: where it is published.
        licence: its SPDX identifier.
        files: where it may lie below the folder, each also compressed (`COMPRESSED`).
    """

    what: str
    url: str
    licence: str
    files: tuple[str, ...]


def _azure(name: str, what: str) -> Dataset:
    return Dataset(
        f"an hour of {what} in Azure ({_SPLITWISE})",
        _AZURE + name,
        "CC-BY-4.0",
        (f"azure-llm-2023/{name}", name),
    )


def _mooncake(name: str, what: str) -> Dataset:
    return Dataset(
        f"an hour of {what} (Qin et al., Mooncake, FAST 2025)",
        _MOONCAKE + name,
        "Apache-2.0",
        (f"mooncake-fast25/{name}", name),
    )


def _servegen(category: str, model: str, what: str) -> Dataset:
    return Dataset(
        f"rates of the clients of {what} over two weeks (Xiang et al., ServeGen, 2025)",
        f"{_SERVEGEN}{category}/{model}",
        "Apache-2.0",
        (
            f"servegen/{category}_{model}.csv",
            f"servegen/{category}/{model}",
            f"ServeGen/data/{category}/{model}",
        ),
    )


DATASETS: Final[dict[str, Dataset]] = {
    "azure-llm-2023-code": _azure("AzureLLMInferenceTrace_code.csv", "code completion"),
    "azure-llm-2023-conv": _azure("AzureLLMInferenceTrace_conv.csv", "conversations"),
    "azure-llm-2024-code": Dataset(
        "a week of code completion in Azure (Stojkovic et al., DynamoLLM, HPCA 2025)",
        _AZURE_2024 + "AzureLLMInferenceTrace_code_1week.csv",
        "CC-BY-4.0",
        (
            "azure-llm-2024/AzureLLMInferenceTrace_code_1week.csv",
            "AzureLLMInferenceTrace_code_1week.csv",
        ),
    ),
    "mooncake-conversation": _mooncake("conversation_trace.jsonl", "a chat service"),
    "mooncake-synthetic": _mooncake("synthetic_trace.jsonl", "long contexts, put together"),
    "servegen-m-large": _servegen("language", "m-large", "a large language model"),
    "servegen-m-mid": _servegen("language", "m-mid", "a language model of medium size"),
    "servegen-m-small": _servegen("language", "m-small", "a small language model"),
    "servegen-deepseek-r1": _servegen("reason", "deepseek-r1", "a reasoning model"),
    "servegen-mm-image": _servegen("multimodal", "mm-image", "a model for text and images"),
}
"""By name."""


def locate(file: str) -> Path:
    """Where a dataset lies that an experiment names as `dataset:NAME`.

    Raises:
        TrafficError: there is none of that name, or it is not on this machine; says then
            where it was looked for and where it is published.
    """
    name = file.removeprefix(PREFIX)
    dataset = DATASETS.get(name)
    if dataset is None:
        close = suggestion(name, DATASETS)
        raise TrafficError(file, None, f"is no known dataset{close}", f"one of {listed(DATASETS)}")
    folder = Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER)
    for found in dataset.files:
        for suffix in COMPRESSED:
            path = folder / f"{found}{suffix}"
            if path.exists():
                return path
    variable = f"${VARIABLE}" if os.environ.get(VARIABLE) else f"${VARIABLE} is not set"
    raise TrafficError(
        file,
        None,
        f"is not in {folder.absolute()} ({variable}): there is no "
        f"{' and no '.join(dataset.files)} (also .gz, .zst)",
        f"the data from {dataset.url} ({dataset.licence}) there",
    )
