"""The image: what its recipe says, and that its wheel is a whole program."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.manifests import K8S

if TYPE_CHECKING:
    from pathlib import Path

ROOT = K8S.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def stages() -> list[list[Instruction]]:
    """The instructions of each stage; the first list is what stands before any."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    found: list[list[Instruction]] = [[]]
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def values(stage: list[Instruction], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def test_all_stages_have_one_base_which_is_pinned(stages):
    before, *rest = stages
    (base,) = values(before, "ARG")
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-\w+", base)
    assert [values(stage, "FROM") for stage in rest] == [["${PYTHON} AS build"], ["${PYTHON}"]]


def test_the_version_is_the_package_s(stages):
    for stage in stages[1:]:
        assert f"VERSION={VERSION}" in values(stage, "ARG")
    (labels,) = values(stages[-1], "LABEL")
    assert 'org.opencontainers.image.version="${VERSION}"' in labels
    assert f"orchestrator-serve:{VERSION}" in (ROOT / "Dockerfile").read_text()


def test_it_runs_as_the_user_that_pods_run_as(stages, pods):
    (user,) = values(stages[-1], "USER")
    uid, _, gid = user.partition(":")
    assert int(uid) > 0
    (made,) = [rest for rest in values(stages[-1], "RUN") if "useradd" in rest]
    assert f"--uid {uid} " in made
    for pod in pods:
        if pod.of_ray:
            security = pod.spec["securityContext"]
            assert (security["runAsUser"], security["runAsGroup"]) == (int(uid), int(gid))


def test_the_last_stage_has_no_build_tools_and_installs_nothing(stages):
    for command in values(stages[-1], "RUN"):
        assert not re.search(r"\b(pip|apt-get|apt|curl|wget|gcc|make)\b", command)
    assert values(stages[-1], "COPY") == ["--from=build /opt/orchestrator /opt/orchestrator"]
    assert not values(stages[-1], "HEALTHCHECK")  # Kubernetes has its own


def test_what_it_copies_is_let_in(stages):
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {path for rest in values(stages[1], "COPY") for path in rest.split()[:-1]}
    assert copied == let_in
    assert all((ROOT / path).exists() for path in copied)


def test_requirements_are_read_as_the_recipe_reads_them(stages, tmp_path):
    (command,) = [rest for rest in values(stages[1], "RUN") if "tomllib" in rest]
    match = re.match(r'python -c "(.*?)" "\$EXTRAS"', command)
    assert match is not None
    done = subprocess.run(
        [sys.executable, "-c", match[1], "s3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    wanted = done.stdout.splitlines()
    assert any(line.startswith("ray[serve]==") for line in wanted)
    assert any(line.startswith("s3fs==") for line in wanted)
    assert not any(line.startswith("pytest") for line in wanted)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built as in the first stage."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode != 0 and "hatchling" in done.stderr:
        pytest.skip(f"the builder cannot be had: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found: list[Path] = list(folder.glob("*.whl"))
    return found[0]


def test_the_wheel_has_the_name_that_the_recipe_installs(wheel):
    assert wheel.name == f"orchestrator_serve-{VERSION}-py3-none-any.whl"


def test_the_wheel_runs_where_there_is_nothing_else_of_ours(wheel, tmp_path):
    """Its dependencies come from this environment: installing them takes minutes."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    (packages,) = home.glob("lib/python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")),
            *("install", "--quiet", "--disable-pip-version-check", "--no-deps", str(wheel)),
        ],
        check=True,
        timeout=60,
    )
    # At the end of its path, and without running the .pth files there: not this checkout.
    (packages / "dependencies.pth").write_text(f"{here}\n")
    done = subprocess.run(
        [str(home / "bin" / "orchestrator"), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert VERSION in done.stdout, done.stderr
    found = subprocess.run(
        [str(home / "bin" / "python"), "-c", "import orchestrator; print(orchestrator.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert str(home) in found.stdout
