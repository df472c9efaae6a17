"""Labels and resources by which nodes are chosen: what a file may say of them."""

import pytest
from ray._private.label_utils import validate_label_selector

from orchestrator.config import compile_serve

V1 = "models.echo.deployments.v1"

KEYS = [
    "pool",
    "ray.io/accelerator-type",
    "a.b-c.D/e_f.G",
    "x" * 63,
    f"{'x' * 63}.{'y' * 63}/z",
]
NO_KEYS = ["", "-pool", "pool-", "a/b/c", "pool/", "my@label", "x" * 64, "a b"]
SELECTORS = ["spot", "!spot", "in(a)", "in(a, b,c)", "!in(A100, H100)", "", "x" * 63]
NO_SELECTORS = ["-spot", "spot_", "in()", "in(a,", "!!a", "in(a b)", "in(!a)", "x" * 64, "a, b"]


def placed(small: str, labels: str) -> str:
    return f"placement: {{router: {{{labels}}}}}\n{small}"


def with_resources(small: str, resources: str) -> str:
    return small.replace("concurrency: 4", f"resources: {{{resources}}}")


@pytest.mark.parametrize("key", KEYS)
def test_a_label_s_name_that_ray_takes(loaded, small, key):
    assert loaded(placed(small, f'"{key}": a')).placement.router == {key: "a"}
    assert validate_label_selector({key: "a"}) is None


@pytest.mark.parametrize("key", NO_KEYS)
def test_a_label_s_name_that_ray_refuses(refused, small, key):
    [problem] = refused(placed(small, f'"{key}": a'))
    assert problem.rule.startswith("must be the name of a node's label")
    assert validate_label_selector({key: "a"}) is not None


@pytest.mark.parametrize("value", SELECTORS)
def test_a_selector_that_ray_takes(loaded, small, value):
    assert loaded(placed(small, f'pool: "{value}"')).placement.router == {"pool": value}
    assert validate_label_selector({"pool": value}) is None


@pytest.mark.parametrize("value", NO_SELECTORS)
def test_a_selector_that_ray_refuses(refused, small, value):
    [problem] = refused(placed(small, f'pool: "{value}"'))
    assert problem.path == "placement.router.pool"
    assert '"in(a, b)" for one of several' in problem.rule
    assert validate_label_selector({"pool": value}) is not None


def test_a_list_without_its_operator_would_match_no_node(refused, small):
    [problem] = refused(placed(small, 'pool: "(a, b)"'))
    assert '"in(a, b)" for one of several' in problem.rule


def test_a_label_s_name_has_no_empty_domain(refused, small):
    [problem] = refused(placed(small, '"/pool": a'))
    assert problem.rule.startswith("must be the name of a node's label")


def test_a_label_s_value_is_text(refused, small):
    [problem] = refused(placed(small, "gpu: true"))
    assert problem.rule == "must be text (put it in quotes)"


def test_a_part_that_there_is_not(refused, small):
    [problem] = refused(f"placement: {{routers: {{pool: a}}}}\n{small}")
    assert 'did you mean "router"?' in problem.rule


def test_labels_of_a_replica_s_node(loaded, small):
    config = loaded(with_resources(small, "node_labels: {disk: nvme}"))
    assert config.models["echo"].deployments["v1"].resources.node_labels == {"disk": "nvme"}


@pytest.mark.parametrize("name", ["licence", "special_hardware", "company.com/slice", "TPU"])
def test_custom_resources(loaded, small, name):
    config = loaded(with_resources(small, f"custom: {{{name}: 0.5}}"))
    assert config.models["echo"].deployments["v1"].resources.custom == {name: 0.5}


@pytest.mark.parametrize(
    ("name", "field"),
    [("GPU", "num_gpus"), ("CPU", "num_cpus"), ("memory", "memory_gigabytes")],
)
def test_what_has_a_field_of_its_own_is_no_custom_resource(refused, small, name, field):
    [problem] = refused(with_resources(small, f"custom: {{{name}: 1}}"))
    assert problem.path == f"{V1}.resources.custom.{name}"
    assert problem.rule == f"must not be a custom resource: ask for it with resources.{field}"


@pytest.mark.parametrize("name", ["object_store_memory", "node:10.0.0.1", "accelerator_type:H100"])
def test_what_ray_gives_to_nodes_itself_is_no_custom_resource(refused, small, name):
    [problem] = refused(with_resources(small, f'custom: {{"{name}": 1}}'))
    assert "Ray gives this name to nodes itself" in problem.rule


@pytest.mark.parametrize("name", ["", "1st", "two words"])
def test_a_custom_resource_needs_a_name(refused, small, name):
    [problem] = refused(with_resources(small, f'custom: {{"{name}": 1}}'))
    assert problem.rule.startswith("must be the name of a resource that nodes are started with")


@pytest.mark.parametrize("amount", ["0", "-1", "0.00001"])
def test_an_amount_that_ray_could_not_count(refused, small, amount):
    [problem] = refused(with_resources(small, f"custom: {{licence: {amount}}}"))
    assert problem.path == f"{V1}.resources.custom.licence"
    assert problem.rule == "must be at least 0.0001 and at most 1000000000"


def test_a_selector_is_compiled_without_blanks_which_ray_would_take_for_a_part_of_the_value(
    loaded, small
):
    config = loaded(placed(small, 'zone: "!in(a, b)"'))
    applications = compile_serve(config, {})["applications"]
    (router,) = (each for each in applications if each["name"] == "router")
    assert router["deployments"][0]["ray_actor_options"]["label_selector"] == {"zone": "!in(a,b)"}
