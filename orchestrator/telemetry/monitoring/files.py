"""The files that are made from the list of metrics, as text by their path in the repository."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML

from orchestrator.telemetry.monitoring.dashboard import dashboard
from orchestrator.telemetry.monitoring.document import metrics_document
from orchestrator.telemetry.monitoring.kubernetes import (
    DASHBOARD_FILE,
    kustomization,
    pod_monitor,
    prometheus_rule,
)

if TYPE_CHECKING:
    from pathlib import Path

_MADE: Final = (
    "# Written by `python -m orchestrator.telemetry.monitoring`; edits are overwritten.\n"
)
_WIDTH: Final = 100


def files() -> dict[str, str]:
    """All of them."""
    folder = "k8s/monitoring"
    return {
        f"{folder}/pod-monitor.yaml": _yaml(pod_monitor()),
        f"{folder}/alerts.yaml": _yaml(prometheus_rule()),
        f"{folder}/kustomization.yaml": _yaml(kustomization()),
        f"{folder}/{DASHBOARD_FILE}": json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n",
        "docs/metrics.md": metrics_document(),
    }


def write(root: Path) -> list[Path]:
    """Writes them below `root`; gives the paths. Raises `OSError`."""
    written = []
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _yaml(document: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda *_: True
    text = io.StringIO()
    yaml.dump(document, text)
    return _MADE + text.getvalue()
