"""Building an overlay with kustomize, and writing what was rendered as a kustomization."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cluster.records import ClusterError
from orchestrator.kubernetes import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.kubernetes.documents import Document

_BUILD_SECONDS: Final = 60.0
_FILE: Final = "kustomization.yaml"
_HEADER: Final = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def manifests_folder() -> Path:
    """The folder `k8s`: in the installed package, or at the root of the source tree.

    Raises:
        ClusterError: it is in neither place.
    """
    package = Path(str(resources.files("orchestrator")))
    for folder in (package / "kubernetes" / "manifests", package.parent / "k8s"):
        if (folder / "base" / "kustomization.yaml").is_file():
            return folder
    raise ClusterError(f"the manifests are missing beside {package}; install the package again")


def build(folder: Path, components: Sequence[Path] = ()) -> list[Document]:
    """What a kustomization renders to.

    Args:
        folder: with its `kustomization.yaml`.
        components: folders of components to apply on top.

    Raises:
        ClusterError: kustomize is not installed, or refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as temporary:
        here = Path(temporary).resolve()
        kustomization = {
            **_HEADER,
            "resources": [os.path.relpath(folder.resolve(), here)],
            "components": [os.path.relpath(each.resolve(), here) for each in components],
        }
        (here / _FILE).write_text(yaml_text.dump(kustomization), encoding="utf-8")
        return yaml_text.load_all(_run(here))


def component(name: str) -> Path:
    """The folder of a component.

    Raises:
        ClusterError: there is none of that name.
    """
    folder = manifests_folder() / "components"
    known = sorted(path.name for path in folder.iterdir())
    if name not in known:
        raise ClusterError(f"no component is named {name!r} (known: {', '.join(known)})")
    return folder / name


def write(documents: Sequence[Document], folder: Path) -> list[Path]:
    """Write documents as a kustomization, one file each; gives the paths.

    Images stand in its `images` besides, so that a release is a change of one line.
    What an earlier rendering left there and this one does not have is deleted.

    Raises:
        ClusterError: the folder cannot be written to, or has files of others in it.
    """
    texts = {file_name(document): yaml_text.dump(document) for document in documents}
    kustomization = {**_HEADER, "resources": list(texts), "images": _images(documents)}
    texts[_FILE] = yaml_text.dump(kustomization)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        earlier = there & _written_before(folder / _FILE)
        strangers = sorted(there - earlier - texts.keys())
        if strangers:
            raise ClusterError(
                f"{folder} has files that are not of this rendering: {', '.join(strangers)}; "
                "remove them or name another folder"
            )
        for name in earlier - texts.keys():
            (folder / name).unlink()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ClusterError(f"cannot write to {folder}: {error.strerror}") from error
    return [folder / name for name in texts]


def file_name(document: Document) -> str:
    """As in `statefulset-store.yaml`."""
    return f"{document['kind'].lower()}-{document['metadata']['name']}.yaml"


def _written_before(path: Path) -> set[str]:
    """Files that a kustomization of ours names."""
    if not path.is_file():
        return set()
    (kustomization,) = yaml_text.load_all(path.read_text(encoding="utf-8"))
    return set(kustomization.get("resources", []))


def _images(documents: Iterable[Document]) -> list[dict[str, str]]:
    """Each image by its name, with its tag or digest."""
    used = sorted({image for document in documents for image in _used(document)})
    return [_image(image) for image in used]


def _used(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _used(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in {"containers", "initContainers"}:
                yield from (container["image"] for container in each)
            else:
                yield from _used(each)


def _image(image: str) -> dict[str, str]:
    name, at, digest = image.partition("@")
    if at:
        return {"name": name, "digest": digest}
    name, _, tag = image.rpartition(":")
    return {"name": name, "newTag": tag}


def _run(folder: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # kustomize on a folder of ours
            [*_command(), str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"kustomize did not end within {_BUILD_SECONDS:.0f} s") from error
    if done.returncode:
        raise ClusterError(f"kustomize refuses the manifests: {done.stderr.strip()}")
    return done.stdout


def _command() -> list[str]:
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if kubectl is not None:
        return [kubectl, "kustomize"]
    if kustomize is not None:
        return [kustomize, "build"]
    raise ClusterError("neither kubectl nor kustomize is installed; one of them builds the overlay")
