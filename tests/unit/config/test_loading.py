from pathlib import Path

import pytest

from orchestrator.config import ConfigError, load

SECRET = "0123456789abcdef"
WITH_KEY = """\
auth:
  enabled: true
  keys:
    app: {secret: "${APP_SECRET}"}
"""


def test_small_file_gets_the_defaults_of_the_contract(loaded, small):
    config = loaded(small)
    environment = config.models["echo"].environments["production"]
    assert (config.cluster.host, config.cluster.port) == ("127.0.0.1", 8000)
    assert environment.autoscaling.min_replica == 0
    assert environment.autoscaling.max_replica == 1
    assert environment.autoscaling.target_utilization_percentage == 70
    assert environment.autoscaling.scale_down_delay == 900
    assert environment.timeouts.park_seconds == environment.timeouts.predict_seconds == 1200
    assert config.longest_request_seconds == 2400


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load(tmp_path / "nowhere.yaml", {})


def test_directory_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, {})


def test_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"cluster: \xff\xfe")
    with pytest.raises(ConfigError, match="must be UTF-8 text; byte 9 is not"):
        load(path, {})


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_empty_file_is_refused(refused, text):
    assert "is empty" in str(refused(text)[0])


def test_broken_yaml_gives_its_line(refused):
    [problem] = refused("cluster:\n  name: [small\nmodels: {}\n")
    assert problem.line == 3
    assert "must be valid YAML" in problem.rule


def test_unprintable_character_is_refused(refused):
    assert "must be valid YAML" in str(refused("cluster: \x01\n")[0])


def test_second_document_in_the_file_is_refused(refused, small):
    assert "must be valid YAML" in str(refused(f"{small}---\n{small}")[0])


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "5\n"])
def test_file_that_is_no_mapping_is_refused(refused, text):
    [problem] = refused(text)
    assert str(problem).startswith('cluster.yaml:1: must be a mapping ("key: value" lines); got')


def test_every_duplicate_key_is_reported_with_both_lines(refused, small):
    twice = small + "      production: {deployment: v1}\n      production: {deployment: v1}\n"
    problems = refused(twice)
    assert [problem.line for problem in problems] == [11, 12]
    assert problems[0].path == "models.echo.environments.production"
    assert problems[0].rule == "is given twice; the first is in line 10"


def test_unknown_field_suggests_the_closest_one(refused, small):
    [problem] = refused(small.replace("concurrency: 4", "concurency: 4"))
    assert str(problem) == (
        "cluster.yaml:8: models.echo.deployments.v1.concurency: unknown field, "
        'did you mean "concurrency"? (known here: runner, resources, concurrency, startup, '
        "health, environment_variables); got 4"
    )


def test_unknown_field_of_a_runner_is_placed_without_the_tag(refused, small):
    [problem] = refused(small.replace("type: python,", "type: python, klass: x,"))
    assert problem.path == "models.echo.deployments.v1.runner.klass"
    assert 'did you mean "class"?' in problem.rule


def test_missing_fields_say_what_they_are(refused):
    problems = refused("cluster: {port: 8000}\n")
    assert [str(problem) for problem in problems] == [
        (
            "cluster.yaml:1: cluster.name: is required but missing: "
            "name of the cluster; one machine can run several"
        ),
        "cluster.yaml:1: models: is required but missing: the models, by name",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("concurrency: 4", 'concurrency: "4"', 'must be a whole number; got "4"'),
        ("concurrency: 4", "concurrency: 1.5", "must be a whole number; got 1.5"),
        ("concurrency: 4", "concurrency: true", "must be a whole number; got true"),
        ("concurrency: 4", "concurrency: 0", "must be at least 1 and at most 10000; got 0"),
        ("concurrency: 4", "health: []", 'must be a mapping ("key: value" lines); got a list of 0'),
        ("concurrency: 4", "health:", 'must be a mapping ("key: value" lines); got null'),
        ("name: small", "name: 5", "must be text (put it in quotes); got 5"),
        ("name: small", "name: small\n  host: ''", "must be an IP address or a host name"),
        ("type: python", "type: pyton", 'needs a type that is one of "python", "command"; got "py'),
        ("type: python, ", "", 'needs a type that is one of "python", "command"'),
        ("examples.echo:Echo", "examples.echo.Echo", 'must be "module:Class"'),
        ("class:", "class: [1], arguments:", "must be text; got a list of 1"),
        ("name: small", "name: small\n  cpus: .nan", "must be a finite number; got .nan"),
        ("name: small", "name: !env small", "must have no YAML tag of its own; got !env"),
        ("name: small", "name: small\n  ? [a]\n  : 1", "must have plain text as keys"),
        ("name: small", "name: small\n  <<: {port: 1}", "merge keys are not supported"),
        ("name: small", "name: &me [*me]", "must not contain itself through an alias"),
    ],
)
def test_wrong_value_is_refused_with_what_would_be_right(refused, small, old, new, message):
    assert message in "\n".join(map(str, refused(small.replace(old, new))))


@pytest.mark.parametrize("name", ["Echo", "a.b", "-a", "a_b", "a" * 41, "'a b'"])
def test_bad_model_name_is_refused(refused, small, name):
    [problem] = refused(small.replace("  echo:", f"  {name}:"))
    assert problem.line == 4
    assert problem.rule.startswith("must be 1 to 40 lower-case letters, digits and hyphens")


@pytest.mark.parametrize("name", ["a", "7", "llama-3-8b", "a" * 40])
def test_good_model_name_is_taken(loaded, small, name):
    assert name in loaded(small.replace("  echo:", f"  {name}:")).models


def test_all_problems_are_reported_in_the_order_of_the_file(refused, small):
    text = small.replace("name: small", "name: small\n  port: 0").replace(
        "{deployment: v1}", "{deployment: v2,\n        queue: {policy: queue_on_fill}}"
    )
    problems = refused(text)
    assert [(problem.line, problem.path) for problem in problems] == [
        (3, "cluster.port"),
        (11, "models.echo.environments.production.deployment"),
        (12, "models.echo.environments.production.queue.policy"),
    ]
    assert 'did you mean "queue_on_full"?' in problems[2].rule


def test_aliases_cannot_fill_the_memory(refused):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    [problem] = refused("\n".join(lines))
    assert "must have at most 100000 values" in problem.rule


def test_alias_may_repeat_a_section(loaded, small):
    text = small.replace("production: {deployment: v1}", "production: &p {deployment: v1}")
    config = loaded(text + "      staging: *p\n")
    environments = config.models["echo"].environments
    assert environments["staging"] == environments["production"]


def test_missing_secret_names_file_line_key_and_variable(refused, small):
    [problem] = refused(WITH_KEY + small)
    assert str(problem) == (
        "cluster.yaml:4: auth.keys.app.secret: environment variable APP_SECRET is not set; "
        "set it before loading this file"
    )


@pytest.mark.parametrize("secret", ["", "hunter2", f"{SECRET}\n", "with a blank inside it"])
def test_useless_secret_is_refused_without_being_shown(refused, small, secret):
    [problem] = refused(WITH_KEY + small, {"APP_SECRET": secret})
    assert "must hold at least 16 characters without blanks" in problem.rule
    assert not secret.strip() or secret.strip() not in str(problem)


@pytest.mark.parametrize("written", ["hunter2-hunter2-hunter2", "x${APP_SECRET}", "${}"])
def test_secret_in_the_file_is_refused_without_being_shown(refused, small, written):
    [problem] = refused((WITH_KEY + small).replace("${APP_SECRET}", written))
    assert "must be ${NAME}" in problem.rule
    assert problem.got == "text (not shown)"


def test_secret_in_the_wrong_place_is_not_shown(refused, small):
    text = (WITH_KEY + small).replace('{secret: "${APP_SECRET}"}', "hunter2-hunter2")
    assert "hunter2" not in "\n".join(map(str, refused(text)))


def test_loaded_config_holds_references_and_no_secret(loaded, small):
    config = loaded(WITH_KEY + small, {"APP_SECRET": SECRET})
    assert config.auth.keys["app"].secret == "${APP_SECRET}"
    assert SECRET not in repr(config)


def test_environment_variables_may_refer_to_variables(loaded, small):
    text = small.replace("concurrency: 4", 'environment_variables: {URL: "http://${H}:${P}/"}')
    deployment = loaded(text, {"H": "host", "P": "1"}).models["echo"].deployments["v1"]
    assert deployment.environment_variables == {"URL": "http://${H}:${P}/"}


def test_every_missing_variable_of_a_value_is_named(refused, small):
    text = small.replace("concurrency: 4", 'environment_variables: {URL: "${H}:${P}"}')
    assert "environment variables H, P are not set" in refused(text)[0].rule


def test_malformed_reference_is_refused(refused, small):
    text = small.replace("concurrency: 4", 'environment_variables: {URL: "${not-a-name}"}')
    assert "must hold the name of an environment variable" in refused(text)[0].rule


@pytest.mark.parametrize("name", ["1A", "'A B'", "A-B"])
def test_bad_name_of_an_environment_variable_is_refused(refused, small, name):
    text = small.replace("concurrency: 4", f"environment_variables: {{{name}: x}}")
    assert "must be the name of an environment variable" in refused(text)[0].rule


def test_value_of_an_environment_variable_is_never_shown(refused, small):
    text = small.replace("concurrency: 4", "environment_variables: {PASSWORD: 12345678}")
    [problem] = refused(text)
    assert str(problem).endswith("must be text (put it in quotes); got a number")


def test_reference_outside_of_secrets_is_refused(refused, small):
    [problem] = refused(small.replace("name: small", 'name: "${NAME}"'), {"NAME": "x"})
    assert problem.rule.startswith("${...} is replaced only in auth.keys.<prefix>.secret")
    assert problem.got == '"${NAME}"'


def test_line_is_known_inside_lists(refused, small):
    command = "{type: command, command: [run,\n          '{port}',\n          5]}"
    text = small.replace('{type: python, class: "replicas.examples.echo:Echo"}', command)
    [problem] = refused(text)
    assert (problem.line, problem.path) == (9, "models.echo.deployments.v1.runner.command[2]")


def test_file_is_named_as_it_was_given(tmp_path, small):
    path = Path(tmp_path, "sub", "..", "cluster.yaml")
    Path(tmp_path, "sub").mkdir()
    path.write_text(small.replace("concurrency: 4", "concurrency: 0"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.errors[0].file == str(path)


def test_store_may_be_a_reference_which_stays_one(loaded, small):
    config = loaded("store: ${STORE}\n" + small, {"STORE": "redis://me:s3cret@host:6379/1"})
    assert config.store == "${STORE}"


def test_store_whose_variable_is_not_set(refused, small):
    [problem] = refused("store: ${STORE}\n" + small)
    assert str(problem) == (
        "cluster.yaml:1: store: environment variable STORE is not set; "
        "set it before loading this file"
    )


def test_store_whose_variable_holds_no_address_is_refused_without_showing_it(refused, small):
    [problem] = refused("store: ${STORE}\n" + small, {"STORE": "http://me:s3cret@host"})
    assert problem.rule.startswith("environment variable STORE must hold the address of a store")
    assert "s3cret" not in str(problem)


@pytest.mark.parametrize(
    "written",
    [
        "redis://:s3cret@host:6379",
        "rediss://me:s3cret@host",
        "redis://host?password=s3cret",
        "redis+sentinel://:s3cret@h1,h2/master",
        "x${STORE}s3cret",
        "[s3cret]",
    ],
)
def test_password_of_a_store_in_the_file_is_refused_without_being_shown(refused, small, written):
    [problem] = refused(f"store: {written}\n{small}", {"STORE": "redis://host"})
    assert problem.path == "store"
    assert "s3cret" not in str(problem)


def test_password_of_a_store_belongs_into_a_variable(refused, small):
    [problem] = refused("store: redis://:s3cret@host\n" + small)
    assert "must be ${NAME}, the name of an environment variable" in problem.rule


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("allowed_networks", "[10.0.0.1/8]", "did you mean 10.0.0.0/8?"),
        ("allowed_networks", "[example.com]", "must be a range of IP addresses such as 10.0.0.0/8"),
        ("retry_seconds", "[]", "must not be empty"),
        ("retry_seconds", "[5, -1]", "must be at least 0 and at most 604800"),
        ("timeout_seconds", "60", "must be more than 0 and at most 20"),
    ],
)
def test_webhooks_that_cannot_be(refused, small, field, value, rule):
    [problem] = refused(f"webhooks: {{{field}: {value}}}\n{small}")
    assert problem.path.startswith(f"webhooks.{field}")
    assert rule in problem.rule


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("https://example.com/results", "URL of a folder that results can be written to"),
        ("/var/results", "URL of a folder that results can be written to"),
        ("memory://results", "URL of a folder that results can be written to"),
        ("file://results", "with three slashes: file:///shared/folder"),
        ("s3:///folder", "must name a folder or a bucket"),
        ("s3://key:s3cret@bucket/folder", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_place_that_no_result_can_be_read_from(refused, small, url, rule):
    [problem] = refused(f'results: {{url: "{url}"}}\n{small}')
    assert problem.path == "results.url"
    assert rule in problem.rule
    assert "s3cret" not in str(problem)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b", "file:///srv/results", "gs://b"])
def test_place_for_results(loaded, small, url):
    assert loaded(f'results: {{url: "{url}"}}\n{small}').results.url == url


def test_the_address_of_ray_s_own_store_is_checked_where_it_stands(refused, loaded, small):
    text = small.replace("name: small", 'name: small\n  gcs_store: "${GCS}"')
    [unset] = refused(text)
    assert unset.path == "cluster.gcs_store"
    assert unset.rule.startswith("environment variable GCS is not set")
    [wrong] = refused(text, {"GCS": "redis://:s3cret@host"})
    assert "GCS must hold the address of a store: it must name one host and its port" in wrong.rule
    assert "s3cret" not in str(wrong)
    assert loaded(text, {"GCS": "redis://:s3cret@host:6379"}).cluster.gcs_store == "${GCS}"
    [in_the_file] = refused(text.replace("${GCS}", "redis://:s3cret@host:6379"))
    assert "s3cret" not in str(in_the_file)
