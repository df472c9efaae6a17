"""`orchestrator k8s` as a command, and the YAML that it writes."""

from __future__ import annotations

import functools

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.kubernetes import (
    kustomization,
    yaml_text,
)
from tests.kubernetes.manifests import (
    OVERLAYS,
)
from tests.kubernetes.rendered import (
    ENV,
    ROOT,
    SECRET,
    render,
    shipped,
)


@pytest.fixture(autouse=True)
def _with_kustomize(kustomize):
    pass


TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\r\x00"), max_size=20
) | st.sampled_from(
    ["no", "Off", "1e3", "0400", "1:30", "~", "a: b", "- a", "a\nb\n", " a\nb", "="]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@run_with(deadline=None)
@given(value=VALUES)
@pytest.mark.filterwarnings("ignore")
def test_text_is_read_as_what_it_was_by_either_yaml(value):
    text = yaml_text.dump({"value": value})
    assert yaml.safe_load(text) == {"value": value}
    assert YAML(typ="safe", pure=True).load(text) == {"value": value}
    assert yaml_text.load_all(text) == [{"value": value}]


@pytest.fixture
def run(monkeypatch):
    for name in ("APP_KEY_SECRET", "OPERATIONS_KEY_SECRET", "STORE_URL", "HF_TOKEN"):
        monkeypatch.setenv(name, ENV[name])
    monkeypatch.delenv("ORCHESTRATOR_STORE_URL", raising=False)
    return functools.partial(CliRunner().invoke, app)


def test_the_command_prints_documents_and_says_what_to_make_first(run):
    done = run(["k8s", str(ROOT / "configs" / "kubernetes.yaml"), "--overlay", "one-node"])
    assert done.exit_code == 0, done.output
    assert list(yaml.safe_load_all(done.stdout)) == render(shipped("kubernetes"), "one-node")
    assert "kubectl -n orchestrator create secret generic store-password" in done.stderr
    assert SECRET not in done.output


def test_the_command_refuses_with_the_reason(run):
    done = run(["k8s", str(ROOT / "configs" / "production.yaml")])
    assert done.exit_code == 2
    assert "--accelerator H100=LABEL=VALUE" in done.stderr
    assert done.stdout == ""


def test_a_folder_for_a_repository_renders_to_the_same(run, tmp_path):
    output = tmp_path / "cluster"
    arguments = ["k8s", str(ROOT / "configs" / "kubernetes.yaml"), "--output", str(output)]
    assert run(arguments).exit_code == 0
    first = {path.name: path.read_text() for path in output.iterdir()}
    assert run(arguments).exit_code == 0
    assert first == {path.name: path.read_text() for path in output.iterdir()}
    expected = render(shipped("kubernetes"))
    built = kustomization.build(output)
    order = lambda each: (each["kind"], each["metadata"]["name"])  # noqa: E731
    assert sorted(built, key=order) == sorted(expected, key=order)
    (listed,) = yaml_text.load_all((output / "kustomization.yaml").read_text())
    images = {each["name"]: each["newTag"] for each in listed["images"]}
    assert images.keys() == {"orchestrator-serve", "valkey/valkey"}
    listed["resources"].append("service-of-an-older-release.yaml")
    (output / "kustomization.yaml").write_text(yaml_text.dump(listed))
    (output / "service-of-an-older-release.yaml").write_text("")
    assert run(arguments).exit_code == 0
    assert first == {path.name: path.read_text() for path in output.iterdir()}
    (output / "mine.yaml").write_text("")
    refused = run(arguments)
    assert refused.exit_code == 2
    assert "mine.yaml" in refused.stderr


def test_a_manifest_is_refreshed_up_to_its_last_field(run, tmp_path):
    manifest = tmp_path / "rayservice.yaml"
    before = (OVERLAYS["base"] / "rayservice.yaml").read_text()
    manifest.write_text(
        before.partition("  serveConfigV2: |\n")[0] + "  serveConfigV2: |\n    a: b\n"
    )
    done = run(["k8s", str(ROOT / "configs" / "kubernetes.yaml"), "--refresh", str(manifest)])
    assert done.exit_code == 0, done.output
    assert manifest.read_text() == before
