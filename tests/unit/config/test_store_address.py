import pytest

from orchestrator.config import store_address as address


@pytest.mark.parametrize(
    "value",
    [
        "embedded",
        "${STORE_URL}",
        "redis://host",
        "redis://host:6379/0",
        "rediss://me@host:6380/15",
        "redis://[fd00::1]:6379/0",
        "unix:///run/redis.sock",
        "redis+sentinel://h1:26379,h2:26379,[fd00::1]:26379/master/0",
        "redis+sentinel://h1/master",
        "rediss+sentinel://me@h1/master",
    ],
)
def test_what_a_store_may_be(value):
    assert address.store_address(value) == value


@pytest.mark.parametrize(
    ("value", "what_would_be_right"),
    [
        ("", "it must begin with one of redis://"),
        ("host:6379", "it must begin with one of redis://"),
        ("http://host", "it must begin with one of redis://"),
        ("redis://", "it must name a host"),
        ("redis://h1,h2/0", "several are for Sentinel"),
        ("redis://host:port/0", "its port must be a number from 1 to 65535"),
        ("redis://host:70000/0", "its port must be a number from 1 to 65535"),
        ("redis://host/main", "its path must end in the number of the database"),
        ("redis://[host", "it is no URL"),
        ("unix://run/redis.sock", "unix:///path/to/socket"),
        ("redis+sentinel://h1:26379", "it must name the master that Sentinel watches"),
        ("redis+sentinel://h1:26379,/master/0", "it must name a host"),
        ("redis+sentinel://h1/master/0/1", "its path must end in the number of the database"),
    ],
)
def test_what_a_store_may_not_be(value, what_would_be_right):
    with pytest.raises(ValueError, match="embedded") as caught:
        address.store_address(value)
    assert what_would_be_right in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://:s3cret@host:6379/0", "redis://host:6379/0"),
        ("rediss://me:s3cret@host/0", "rediss://me@host/0"),
        ("redis://me:s3@cret@host", "redis://me@host"),
        ("redis://host/0?password=s3cret", "redis://host/0"),
        ("unix://:s3cret@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis+sentinel://:s3cret@h1,h2/master/0", "redis+sentinel://h1,h2/master/0"),
        ("redis://host:6379", "redis://host:6379"),
    ],
)
def test_an_address_is_shown_without_its_password(value, shown):
    assert address.without_password(value) == shown


def test_processes_are_handed_a_reference_and_find_the_address_themselves():
    assert address.handed_on("embedded") == "${ORCHESTRATOR_STORE_URL}"
    assert address.handed_on("${A}") == "${A}"
    assert address.resolved("embedded", {"ORCHESTRATOR_STORE_URL": "unix:///s"}) == "unix:///s"
    assert address.resolved("${A}", {"A": "redis://host"}) == "redis://host"
    assert address.resolved("redis://host", {}) == "redis://host"
    with pytest.raises(KeyError):
        address.resolved("${A}", {})


@pytest.mark.parametrize(
    "value", ["${GCS}", "redis://host:6379", "rediss://me@host:6380", "redis://[fd00::1]:6379"]
)
def test_where_ray_may_keep_its_tables(value):
    assert address.gcs_address(value) == value


@pytest.mark.parametrize(
    ("value", "what_would_be_right"),
    [
        ("embedded", "it must begin with redis:// or rediss://"),
        ("host:6379", "it must begin with redis:// or rediss://"),
        ("unix:///run/redis.sock", "it must begin with redis:// or rediss://"),
        ("redis+sentinel://h:26379/master", "it must begin with redis:// or rediss://"),
        ("redis://host", "it must name one host and its port"),
        ("redis://h1:1,h2:2", "it is no URL"),
        ("redis://host:port", "it is no URL"),
        ("redis://host:6379/1", "Ray uses no other database than 0"),
        ("redis://:s3cret@host:6379", "so that the password is not in the file"),
    ],
)
def test_where_ray_may_not_keep_its_tables(value, what_would_be_right):
    with pytest.raises(ValueError, match="must") as caught:
        address.gcs_address(value)
    assert what_would_be_right in str(caught.value)
    assert "s3cret" not in str(caught.value)
