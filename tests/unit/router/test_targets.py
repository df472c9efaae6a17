"""Addresses, read: for all that are right, and for anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.router.targets import (
    Action,
    Target,
    async_request_at,
    model_of_host,
    parse_target,
    split_model,
)

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
RAW = st.binary(max_size=60)


@given(NAMES, RAW)
def test_a_model_is_split_off(model: str, rest: bytes) -> None:
    assert split_model(b"/models/" + model.encode() + b"/" + rest) == (model, b"/" + rest)


@given(NAMES)
def test_a_name_may_be_percent_encoded(model: str) -> None:
    encoded = "".join(f"%{ord(letter):02x}" for letter in model)
    assert split_model(f"/models/{encoded}/production/predict".encode()) == (
        model,
        b"/production/predict",
    )


PLAIN = [action for action in Action if action not in (Action.SYNC, Action.ASYNC_REQUEST)]


@given(NAMES, st.sampled_from(PLAIN))
def test_targets_by_environment_and_deployment(name: str, action: Action) -> None:
    assert parse_target(f"/environments/{name}/{action}".encode()) == Target(name, None, action)
    assert parse_target(f"/deployment/{name}/{action}".encode()) == Target(None, name, action)
    assert parse_target(f"/production/{action}".encode()) == Target("production", None, action)
    assert parse_target(f"/development/{action}".encode()) == Target("development", None, action)


@given(NAMES, RAW)
def test_what_follows_sync_is_kept_byte_by_byte(name: str, rest: bytes) -> None:
    for prefix in (b"/production", b"/environments/" + name.encode()):
        target = parse_target(prefix + b"/sync/" + rest)
        assert target is not None
        assert target.action is Action.SYNC
        assert target.rest == b"/" + rest


@given(NAMES, NAMES)
def test_an_asynchronous_request_is_found_behind_any_base(name: str, request_id: str) -> None:
    path = f"/async_request/{request_id}".encode()
    assert async_request_at(path) == request_id.encode()
    target = Target(name, None, Action.ASYNC_REQUEST, request_id.encode())
    assert parse_target(f"/environments/{name}".encode() + path) == target


@given(RAW)
def test_anything_is_read_without_an_error(path: bytes) -> None:
    split_model(path)
    split_model(b"/models/" + path)
    model_of_host(path)
    async_request_at(path)
    target = parse_target(path)
    if target is not None:
        assert (target.environment is None) != (target.deployment is None)
        assert target.rest.startswith(b"/") == (target.action is Action.SYNC)


@given(NAMES, st.sampled_from([b".localhost", b".a.b:8443", b".EXAMPLE.org"]))
def test_a_model_is_read_from_its_host(model: str, domain: bytes) -> None:
    assert model_of_host(b"model-" + model.encode() + domain) == model


def test_other_hosts_name_no_model() -> None:
    for host in (b"", b"localhost:8000", b"model-echo", b"model-.a", b"amodel-echo.a", b"model-x."):
        assert model_of_host(host) is None


def test_forms_that_are_none() -> None:
    for path in (
        b"",
        b"/",
        b"/production",
        b"/production/",
        b"/production/predictable",
        b"/production/predict/",
        b"/environments//predict",
        b"/environments/predict",
        b"/staging/predict",
        b"production/predict",
        b"/deployment/a/syncx",
        b"/production/async_request",
        b"/production/async_request/",
        b"/production/async_request/a/b",
        b"/production/async_requests/a",
    ):
        assert parse_target(path) is None, path
