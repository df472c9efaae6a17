"""The commands about what is run later, against a real router and a real store."""

import asyncio
import json

import pytest

from orchestrator import cli
from tests.unit.cli.conftest import Front


async def test_a_request_is_handed_over_and_its_id_alone_is_printed(front: Front) -> None:
    done = await front.command("call", "echo", "--async", "--data", '{"hello": "later"}')
    assert done.exit_code == 0, done.output
    claim = await front.claimed()
    assert done.stdout == f"{claim.request_id}\n"
    assert json.loads(claim.input) == {"hello": "later"}


async def test_waiting_prints_the_result_as_a_call_without_async_would(front: Front) -> None:
    done, request_id = await asyncio.gather(
        front.command("call", "echo", "--async", "--wait"), front.succeed()
    )
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"answer": 42})
    assert request_id in done.stderr
    assert "SUCCEEDED" in done.stderr


async def test_waiting_for_a_request_that_fails_says_why(front: Front) -> None:
    done, _ = await asyncio.gather(
        front.command("call", "echo", "--async", "--wait"), front.fail("no [such] field")
    )
    assert done.exit_code == cli.FAILED
    assert done.stdout == ""
    assert "FAILED, MODEL_INVALID_INPUT: no [such] field" in done.stderr


async def test_waiting_ends_when_time_is_up_and_says_how_to_go_on(front: Front) -> None:
    done = await front.command("call", "echo", "--async", "--wait", "--timeout", "0.1")
    assert done.exit_code == cli.FAILED
    assert "QUEUED" in done.stderr
    assert "orchestrator requests show" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--wait"], "--wait can only be given with --async"),
        (["--priority", "0"], "--priority can only be given with --async"),
        (["--async", "--timeout", "5"], "--timeout can only be given with --wait"),
        (["--async", "--stream"], "--stream is of no use with --async"),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    front: Front, options: list[str], sentence: str
) -> None:
    done = await front.command("call", "echo", *options)
    assert done.exit_code == cli.REFUSED
    assert sentence in done.stderr


async def test_the_first_priority_is_run_first(front: Front) -> None:
    await front.submit("--priority", "2")
    urgent = await front.submit("--priority", "0")
    assert (await front.claimed()).request_id == urgent


async def test_a_receiver_that_may_not_be_called_is_refused_in_the_servers_words(
    front: Front,
) -> None:
    done = await front.command("call", "echo", "--async", "--webhook", "http://169.254.169.254/")
    assert done.exit_code == cli.FAILED
    assert "400: webhook_endpoint" in done.stderr


async def test_requests_are_listed_newest_first_with_what_became_of_them(front: Front) -> None:
    first = await front.submit()
    await front.fail("it has no [field]")
    second = await front.submit()
    everywhere = await front.command("requests", "list")
    assert everywhere.exit_code == 0, everywhere.output
    of_one = await front.command("requests", "list", "echo", "--status", "queued")
    rows = [line.split() for line in everywhere.stdout.splitlines()[1:]]
    assert [(row[0], row[2]) for row in rows] == [(second, "QUEUED"), (first, "FAILED")]
    assert "it has no [field]" in everywhere.stdout
    assert of_one.exit_code == 0, of_one.output
    assert [line.split()[0] for line in of_one.stdout.splitlines()[1:]] == [second]


async def test_a_list_goes_on_over_its_pages(front: Front) -> None:
    ids = {await front.submit() for _ in range(5)}
    listed = await front.command("requests", "list", "--limit", "4")
    assert len(listed.stdout.splitlines()) == 1 + 4
    assert {line.split()[0] for line in listed.stdout.splitlines()[1:]} < ids


async def test_one_request_is_shown_with_its_result(front: Front) -> None:
    request_id = await front.submit()
    await front.succeed()
    shown = await front.command("requests", "show", request_id)
    assert "SUCCEEDED" in shown.stdout
    assert '"answer": 42' in shown.stdout
    whole = await front.command("requests", "show", request_id, "--json")
    assert json.loads(whole.stdout)["result"] == {"answer": 42}


async def test_an_unknown_request_is_refused_in_the_servers_words(front: Front) -> None:
    done = await front.command("requests", "show", "../absent")
    assert done.exit_code == cli.FAILED
    assert "404" in done.stderr


async def test_a_request_is_canceled_once(front: Front) -> None:
    request_id = await front.submit()
    done = await front.command("requests", "cancel", request_id)
    assert (done.exit_code, done.stdout) == (0, f"{request_id}: canceled\n")
    again = await front.command("requests", "cancel", request_id)
    assert again.exit_code == cli.FAILED
    assert "CANCELED" in again.stderr


async def test_a_dead_letter_is_listed_and_shown_with_its_tries(front: Front) -> None:
    request_id = await front.dead_letter()
    listed = await front.command("dead-letters", "list")
    assert request_id in listed.stdout
    assert "it answered 503" in listed.stdout
    shown = await front.command("dead-letters", "show", request_id)
    assert "[no] room" in shown.stdout
    of_request = await front.command("requests", "show", request_id)
    assert "WEBHOOK_FAILED" in of_request.stdout
    assert "[no] room" in of_request.stdout


async def test_dead_letters_are_replayed_by_id_by_what_fits_and_all(front: Front) -> None:
    by_id, by_host, last = [
        await front.dead_letter(host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")
    ]

    async def left() -> set[str]:
        listed = await front.command("dead-letters", "list")
        return {line.split()[0] for line in listed.stdout.splitlines()[1:]}

    done = await front.command("dead-letters", "replay", by_id)
    assert done.stdout == "1 dead letter is sent again\n"
    assert await left() == {by_host, last}
    await front.command("dead-letters", "replay", "--host", "127.0.0.2", "--model", "echo")
    assert await left() == {last}
    await front.command("dead-letters", "replay", "--all")
    assert await left() == set()


async def test_a_dropped_dead_letter_is_gone_and_its_result_is_not(front: Front) -> None:
    request_id = await front.dead_letter()
    done = await front.command("dead-letters", "drop", request_id)
    assert done.stdout == "1 dead letter is dropped\n"
    again = await front.command("dead-letters", "replay", request_id)
    assert again.exit_code == cli.FAILED
    shown = await front.command("requests", "show", request_id)
    assert '"answer": 42' in shown.stdout


@pytest.mark.parametrize("which", [[], ["--all", "--model", "echo"], ["abc", "--all"]])
async def test_what_to_replay_must_be_said_in_one_way(front: Front, which: list[str]) -> None:
    done = await front.command("dead-letters", "replay", *which)
    assert done.exit_code == cli.REFUSED
    assert "say which" in done.stderr


async def test_a_secret_is_told_once_and_on_standard_output_alone(front: Front) -> None:
    made = await front.command("webhooks", "secrets", "create")
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    assert secret not in made.stderr
    [key] = await front.store.signing_keys.active()
    assert key.secret == secret
    listed = await front.command("webhooks", "secrets", "list")
    assert key.key_id in listed.stdout
    assert secret not in listed.stdout


async def test_after_a_rotation_two_secrets_sign_until_one_is_deleted(front: Front) -> None:
    await front.command("webhooks", "secrets", "create")
    [old] = await front.store.signing_keys.active()
    rotated = await front.command("webhooks", "secrets", "rotate")
    new, still = await front.store.signing_keys.active()
    assert (new.secret, still.key_id) == (rotated.stdout.strip(), old.key_id)
    await front.command("webhooks", "secrets", "delete", old.key_id)
    assert [key.key_id for key in await front.store.signing_keys.active()] == [new.key_id]


async def test_status_tells_what_is_still_to_be_run_and_that_webhooks_were_given_up(
    front: Front,
) -> None:
    await front.dead_letter()
    for _ in range(3):
        await front.submit()
    await front.claimed()
    done = await front.command("status")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("echo/production")]
    assert "2 queued, 1 running" in row
    assert row.rstrip().endswith("webhooks were given up: `orchestrator dead-letters list`")
