"""What works on one machine only is said before it is deployed to several."""

import pytest

from orchestrator.config.cluster_wide import unfit_for_several_nodes

KEY = 'auth: {enabled: true, keys: {app: {secret: "${S}"}}}'
ENV = {
    "S": "0123456789abcdef",
    "STORE": "redis://:s3cret@store:6379",
    "HERE": "redis://:s3cret@127.0.0.1:6379",
}


@pytest.fixture
def wide(small: str) -> str:
    """A file that is fit for several nodes."""
    return f'{KEY}\nstore: "redis://store:6379"\n' + small.replace(
        "name: small", "name: small\n  host: 0.0.0.0"
    )


def test_a_file_that_is_fit(loaded, wide):
    assert unfit_for_several_nodes(loaded(wide, ENV)) == []


def test_a_laptop_s_file_says_everything_at_once(loaded, small):
    problems = unfit_for_several_nodes(loaded(small))
    assert [problem.path for problem in problems] == ["cluster.host", "auth.enabled", "store"]
    assert {problem.file for problem in problems} == {"small"}
    assert str(problems[0]) == (
        "small: cluster.host: must be an address that callers and other nodes reach, "
        'such as 0.0.0.0; got "127.0.0.1"'
    )


def test_an_embedded_store_needs_a_server_that_every_node_is_told_of(loaded, wide):
    config = loaded(wide.replace('"redis://store:6379"', "embedded"), ENV)
    [problem] = unfit_for_several_nodes(config)
    assert "ORCHESTRATOR_STORE_URL of every node" in problem.rule
    assert unfit_for_several_nodes(config, {"ORCHESTRATOR_STORE_URL": "redis://store"}) == []
    [problem] = unfit_for_several_nodes(config, {"ORCHESTRATOR_STORE_URL": "unix:///run/s.sock"})
    assert "(from the environment variable ORCHESTRATOR_STORE_URL)" in problem.rule


@pytest.mark.parametrize(
    "address",
    [
        "unix:///run/store.sock",
        "redis://localhost:6379",
        "redis://127.0.0.1",
        "redis://[::1]:6379/0",
        "redis+sentinel://s1:26379,127.0.0.1:26379/master",
    ],
)
def test_a_store_that_only_this_machine_reaches(loaded, wide, address):
    [problem] = unfit_for_several_nodes(loaded(wide.replace("redis://store:6379", address), ENV))
    assert problem.path == "store"
    assert problem.rule == "must be the address of a server that every node reaches"


def test_a_store_s_reference_is_followed_where_it_can_be(loaded, wide):
    there = loaded(wide.replace("redis://store:6379", "${STORE}"), ENV)
    assert unfit_for_several_nodes(there) == unfit_for_several_nodes(there, ENV) == []
    here = loaded(wide.replace("redis://store:6379", "${HERE}"), ENV)
    assert unfit_for_several_nodes(here) == []
    [problem] = unfit_for_several_nodes(here, ENV)
    assert "(from the environment variable HERE)" in problem.rule
    assert problem.got == '"redis://127.0.0.1:6379"'


def test_results_in_a_folder_of_one_machine(loaded, wide):
    [problem] = unfit_for_several_nodes(loaded(f'results: {{url: "file:///var/r"}}\n{wide}', ENV))
    assert problem.path == "results.url"
    assert problem.got == '"file:///var/r"'
    assert unfit_for_several_nodes(loaded(f'results: {{url: "s3://bucket"}}\n{wide}', ENV)) == []
