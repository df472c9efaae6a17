"""The command that renders a config as Kubernetes manifests."""

import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.terminal import File, err, out, refusals
from orchestrator.cluster.records import ClusterError
from orchestrator.config import Config, load
from orchestrator.kubernetes import kustomization, rendering, serving, variables, yaml_text
from orchestrator.kubernetes.documents import Document
from orchestrator.kubernetes.node_choice import Accelerators

app = typer.Typer()


class Overlay(StrEnum):
    """The folders of k8s/overlays."""

    ONE_NODE = "one-node"
    PRODUCTION = "production"
    SPOT_GPU = "spot-gpu"


@app.command()
def k8s(
    file: File,
    *,
    overlay: Annotated[
        Overlay, typer.Option(help="What it is built on: k8s/overlays.")
    ] = Overlay.PRODUCTION,
    component: Annotated[
        list[str] | None, typer.Option(help="A component besides: k8s/components. Repeatable.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Where all of it goes.")] = rendering.NAMESPACE,
    image: Annotated[
        str | None, typer.Option(help="Image of the pods of Ray, with its tag or digest.")
    ] = None,
    accelerator: Annotated[
        list[str] | None,
        typer.Option(
            help="Nodes of an accelerator type, as TYPE=LABEL=VALUE. Repeatable.",
            metavar="TYPE=LABEL=VALUE",
        ),
    ] = None,
    max_gpus_per_node: Annotated[
        int | None, typer.Option(min=1, help="Refuse models that ask for more.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write a kustomization to this folder, for a repository.")
    ] = None,
    refresh: Annotated[
        Path | None,
        typer.Option(
            help="Only rewrite serveConfigV2 at the end of this manifest, without any secret."
        ),
    ] = None,
) -> None:
    """Print the Kubernetes manifests of a file: a RayService and what belongs around it."""
    with refusals():
        if refresh is not None:
            _refresh(file, refresh)
            return
        config = load(file, _with_own_store(os.environ))
        chosen = _components(config, component or [])
        options = rendering.Options(
            namespace=namespace,
            image=image,
            accelerators=_accelerators(accelerator or []),
            most_gpus=max_gpus_per_node,
        )
        folder = kustomization.manifests_folder() / "overlays" / overlay.value
        base = kustomization.build(folder, [kustomization.component(each) for each in chosen])
        documents = rendering.render(base, config, os.environ, options)
        if output is not None:
            written = kustomization.write(documents, output)
            out.print(f"{output}: {len(written)} files; kubectl apply -k {output}", markup=False)
        else:
            sys.stdout.write(yaml_text.dump_all(documents))
    _say_what_else(config, chosen, documents, namespace)


def _with_own_store(env: Mapping[str, str]) -> dict[str, str]:
    """The variable that the manifests set by themselves counts as set."""
    return {"ORCHESTRATOR_STORE_URL": "redis://store:6379/0", **env}


def _components(config: Config, asked: list[str]) -> list[str]:
    by_itself = rendering.components_of(config)
    if "external-redis" in asked and not by_itself:
        raise ClusterError(
            "the component external-redis is used where `store` names a server of yours, as in "
            "store: ${STORE_URL}"
        )
    return list(dict.fromkeys([*by_itself, *asked]))


def _accelerators(options: list[str]) -> Accelerators:
    try:
        return Accelerators.given(options)
    except ValueError as error:
        raise ClusterError(f"--accelerator: {error}") from error


def _refresh(file: Path, manifest: Path) -> None:
    """Write a config into a manifest that is public, where its keys let nobody in."""
    try:
        references = re.findall(r"\$\{(\w+)\}", file.read_text(encoding="utf-8"))
        nothing = dict.fromkeys(references, "0" * 16)
        config = load(file, nothing | _with_own_store({}))
        text = manifest.read_text(encoding="utf-8")
        manifest.write_text(serving.refreshed(text, serving.example(config)), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ClusterError(f"cannot refresh {manifest}: {error}") from error
    out.print(f"{manifest}: serveConfigV2 is that of {file}", markup=False)


def _say_what_else(
    config: Config, components: list[str], documents: list[Document], namespace: str
) -> None:
    for remark in dict.fromkeys(rendering.remarks(config, components)):
        err.print(f"note: {remark}", style="yellow", markup=False)
    err.print("before it is applied (what is there already stays as it is):", markup=False)
    for command in variables.commands(documents, namespace):
        err.print(f"  {command}", markup=False)
