import pytest

PRODUCTION = "models.echo.environments.production"
V1 = "models.echo.deployments.v1"


def with_environment(small: str, fields: str) -> str:
    return small.replace("{deployment: v1}", f"{{deployment: v1, {fields}}}")


def with_deployment(small: str, fields: str) -> str:
    return small.replace("concurrency: 4", f"concurrency: 4\n        {fields}")


def with_command(small: str, command: str) -> str:
    runner = f"{{type: command, command: {command}}}"
    return small.replace('{type: python, class: "replicas.examples.echo:Echo"}', runner)


def test_min_replica_above_max_replica(refused, small):
    [problem] = refused(with_environment(small, "autoscaling: {min_replica: 3, max_replica: 2}"))
    assert str(problem) == (
        f"cluster.yaml:10: {PRODUCTION}.autoscaling.min_replica: "
        "must be at most max_replica (2); got 3"
    )


def test_target_above_the_deployments_concurrency(refused, small):
    [problem] = refused(with_environment(small, "autoscaling: {concurrency_target: 5}"))
    assert problem.path == f"{PRODUCTION}.autoscaling.concurrency_target"
    assert problem.rule.startswith("must be at most the deployment's concurrency (4)")
    assert problem.got == "5"


def test_target_as_high_as_the_deployments_concurrency(loaded, small):
    loaded(with_environment(small, "autoscaling: {concurrency_target: 4}"))


def test_unknown_deployment_names_the_known_ones(refused, small):
    [problem] = refused(small.replace("{deployment: v1}", "{deployment: v2}"))
    assert str(problem) == (
        f"cluster.yaml:10: {PRODUCTION}.deployment: must name a deployment of this model "
        '(known: "v1"); got "v2"'
    )


def test_model_without_production(refused, small):
    [problem] = refused(small.replace("production:", "staging:"))
    assert str(problem) == (
        'cluster.yaml:9: models.echo.environments: must have an environment "production"; '
        'it has "staging"'
    )


def test_short_window_needs_experimental(refused, loaded, small):
    [problem] = refused(with_environment(small, "autoscaling: {autoscaling_window: 9}"))
    assert problem.rule == ("must be at least 10 seconds; down to 1 only beside experimental: true")
    loaded(with_environment(small, "autoscaling: {autoscaling_window: 1, experimental: true}"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.com"])
def test_open_listener_needs_keys(refused, small, host):
    [problem] = refused(small.replace("name: small", f'name: small\n  host: "{host}"'))
    assert problem.path == "auth.enabled"
    assert f"must be true while cluster.host is {host}" in problem.rule


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_listener_needs_no_keys(loaded, small, host):
    assert loaded(small.replace("name: small", f'name: small\n  host: "{host}"'))


def test_auth_without_any_key(refused, small):
    [problem] = refused("auth: {enabled: true}\n" + small)
    assert "must have at least one key" in problem.rule


def test_key_limited_to_what_does_not_exist(refused, small):
    key = '{secret: "${S}", models: [ecco], environments: [production, prod]}'
    problems = refused(
        f"auth: {{enabled: true, keys: {{app: {key}}}}}\n{small}", {"S": "0123456789abcdef"}
    )
    assert [problem.path for problem in problems] == [
        "auth.keys.app.models[0]",
        "auth.keys.app.environments[1]",
    ]
    assert 'did you mean "echo"? (known: "echo")' in problems[0].rule


def test_command_without_a_place_for_the_port(refused, loaded, small):
    [problem] = refused(with_command(small, "[serve, --port=8000]"))
    assert problem.path == f"{V1}.runner.command"
    assert problem.rule.startswith("must contain {port}")
    assert problem.got == '"serve --port=8000"'
    loaded(with_command(small, "[serve, '--port={port}']"))


def test_more_gpus_than_the_cluster_has(refused, small):
    text = with_deployment(small, "resources: {num_gpus: 4}")
    [problem] = refused(text.replace("name: small", "name: small\n  gpus: 2"))
    assert problem.path == f"{V1}.resources.num_gpus"
    assert problem.rule == "must be at most cluster.gpus (2), or no replica can ever start"


def test_more_cpus_than_the_cluster_has(refused, small):
    [problem] = refused(
        small.replace("name: small", "name: small\n  cpus: 1").replace(
            "concurrency: 4", "resources: {num_cpus: 1.5}"
        )
    )
    assert problem.rule == "must be at most cluster.cpus (1), or no replica can ever start"


def test_one_and_a_half_gpus(refused, loaded, small):
    [problem] = refused(with_deployment(small, "resources: {num_gpus: 1.5}"))
    assert problem.rule == "must be a whole number, or a fraction below 1"
    loaded(with_deployment(small, "resources: {num_gpus: 0.5}"))


def test_backoff_that_begins_above_its_bound(refused, small):
    text = with_deployment(small, "startup: {backoff_initial_seconds: 31}")
    [problem] = refused(text)
    assert problem.rule == "must be at most backoff_max_seconds (30)"


def test_retry_that_begins_above_its_bound(refused, small):
    text = with_environment(small, "retry: {initial_milliseconds: 2000, max_seconds: 1}")
    assert refused(text)[0].rule == "must be at most max_seconds (1 s)"


def test_slot_kept_for_longer_than_its_lease(refused, small):
    text = with_environment(small, "queue: {keep_seconds: 5, lease_seconds: 5}")
    assert refused(text)[0].path == f"{PRODUCTION}.queue.keep_seconds"


def test_device_variables_are_rays_to_set(refused, small):
    text = with_deployment(small, 'environment_variables: {CUDA_VISIBLE_DEVICES: "0"}')
    assert "Ray assigns the devices" in refused(text)[0].rule


@pytest.mark.parametrize(
    ("limits", "field", "rule"),
    [
        (
            "max_body_kilobytes: 99000",
            "max_body_kilobytes",
            "must be at most router.max_body_megabytes (100 MB)",
        ),
        (
            "max_body_kilobytes: 256, max_megabytes: 0.1",
            "max_body_kilobytes",
            "must be at most max_megabytes (0.1 MB)",
        ),
        (
            "max_requests: 5, max_requests_per_key: 6",
            "max_requests_per_key",
            "must be at most max_requests (5)",
        ),
    ],
)
def test_bounds_of_async_requests_that_could_never_be_reached(refused, small, limits, field, rule):
    [problem] = refused(with_environment(small, f"async_requests: {{{limits}}}"))
    assert problem.path == f"{PRODUCTION}.async_requests.{field}"
    assert problem.rule == rule


def test_small_bounds_need_no_smaller_body_beside_them(loaded, small):
    assert loaded(with_environment(small, "async_requests: {max_megabytes: 0.1}"))


def test_one_mistake_does_not_hide_another(refused, small):
    text = with_deployment(
        with_environment(small, "autoscaling: {min_replica: 2}, queue: {max_requests: 0}"),
        "resources: {num_gpus: -1}",
    )
    assert [problem.path for problem in refused(text)] == [
        f"{V1}.resources.num_gpus",
        f"{PRODUCTION}.queue.max_requests",
        f"{PRODUCTION}.autoscaling.min_replica",
    ]
