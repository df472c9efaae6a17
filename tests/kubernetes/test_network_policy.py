"""The evaluator's own rules, each shown by the smallest policies that tell it from its neighbours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.network_policy import Outside, Pod, Policies, selects

NAMESPACES: dict[str, dict[str, str]] = {"ours": {}, "theirs": {"team": "a"}}
WEB = Pod("10.0.0.1", "ours", {"app": "web"}, {"http": 8080})
DATA = Pod("10.0.0.2", "ours", {"app": "data"}, {"sql": 5432})
FORGED = Pod("10.0.1.1", "theirs", {"app": "web"})
WORLD = Outside("93.184.216.34")

ALL: dict[str, Any] = {}


def policy(**spec: Any) -> dict[str, Any]:
    return {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "ours"}, "spec": spec}


def closed(*types: str) -> dict[str, Any]:
    return policy(podSelector={}, policyTypes=list(types))


def into_data(*rules: dict[str, Any]) -> dict[str, Any]:
    return policy(podSelector={"matchLabels": {"app": "data"}}, ingress=list(rules))


def out_of_web(*rules: dict[str, Any]) -> dict[str, Any]:
    return policy(
        podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"], egress=list(rules)
    )


def allow(policies: list[dict[str, Any]], *args: Any) -> bool:
    return Policies(policies, NAMESPACES).allow(*args)


def test_a_pod_that_no_policy_selects_is_open():
    assert allow([into_data()], DATA, WEB, 8080)
    assert allow([], WORLD, WEB, 8080)


def test_a_selected_pod_is_closed_but_for_what_is_allowed():
    assert not allow([into_data()], WEB, DATA, 5432)
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    assert allow([into_data(rule)], WEB, DATA, 5432)


def test_policies_of_one_pod_add_up():
    rule = {"ports": [{"port": 5432}]}
    assert allow([closed("Ingress"), into_data(rule)], WEB, DATA, 5432)


def test_both_ends_have_to_agree():
    rule = {"ports": [{"port": 5432}]}
    assert not allow([closed("Egress"), into_data(rule)], WEB, DATA, 5432)
    assert allow([closed("Egress"), into_data(rule), out_of_web({})], WEB, DATA, 5432)
    assert not allow([closed("Ingress"), out_of_web({})], WEB, DATA, 5432)


def test_without_policy_types_a_policy_is_of_ingress_and_of_egress_where_it_has_rules():
    untyped = policy(podSelector={}, egress=[{"ports": [{"port": 1}]}])
    assert not allow([untyped], WEB, DATA, 5432)
    assert not allow([untyped], WORLD, WEB, 8080)
    assert allow([policy(podSelector={})], WEB, WORLD, 443)


def test_labels_in_another_namespace_are_another_pod():
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    assert not allow([into_data(rule)], FORGED, DATA, 5432)


@pytest.mark.parametrize(
    ("peer", "lets_in"),
    [
        ({"namespaceSelector": ALL}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "theirs"}}}, True),
        ({"namespaceSelector": ALL, "podSelector": {"matchLabels": {"app": "web"}}}, True),
        ({"namespaceSelector": ALL, "podSelector": {"matchLabels": {"app": "db"}}}, False),
        ({"podSelector": ALL}, False),
        ({"ipBlock": {"cidr": "10.0.1.0/24"}}, True),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.1.0/24"]}}, False),
        ({"ipBlock": {"cidr": "::/0"}}, False),
    ],
)
def test_peers(peer, lets_in):
    assert allow([into_data({"from": [peer]})], FORGED, DATA, 5432) is lets_in


def test_peers_of_one_rule_are_either_or():
    rule = {"from": [{"podSelector": ALL}, {"ipBlock": {"cidr": "93.184.216.0/24"}}]}
    assert allow([into_data(rule)], WEB, DATA, 5432)
    assert allow([into_data(rule)], WORLD, DATA, 5432)


@pytest.mark.parametrize(
    ("ports", "lets_in"),
    [
        ([{"port": 5432}], True),
        ([{"port": 5431}], False),
        ([{"port": 5400, "endPort": 5432}], True),
        ([{"port": 5433, "endPort": 6000}], False),
        ([{"port": "sql"}], True),
        ([{"port": "http"}], False),
        ([{"protocol": "UDP", "port": 5432}], False),
        ([{"protocol": "UDP"}, {"protocol": "TCP"}], True),
        ([], True),
    ],
)
def test_ports(ports, lets_in):
    assert allow([into_data({"ports": ports})], WEB, DATA, 5432) is lets_in


def test_a_named_port_of_egress_is_the_target_s():
    assert allow([out_of_web({"ports": [{"port": "sql"}]})], WEB, DATA, 5432)
    assert not allow([out_of_web({"ports": [{"port": "http"}]})], WEB, DATA, 5432)


def test_only_an_ip_block_means_what_is_no_pod():
    assert not allow([out_of_web({"to": [{"namespaceSelector": ALL}]})], WEB, WORLD, 443)
    assert allow([out_of_web({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})], WEB, WORLD, 443)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "data"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "zone", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_expressions(expression, holds):
    assert selects({"matchExpressions": [expression]}, {"app": "web"}) is holds
    both = {"matchLabels": {"app": "web"}, "matchExpressions": [expression]}
    assert selects(both, {"app": "web"}) is holds
