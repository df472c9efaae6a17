from __future__ import annotations

import json

import pytest

from orchestrator.replay.errors import ReplayError
from orchestrator.replay.target import place_of, target_of
from orchestrator.replay.template import DEFAULT, Numbers, Template

NUMBERS = Numbers(prompt_tokens=3, output_tokens=40, service_s=0.25)


def test_a_text_that_is_nothing_else_becomes_the_number():
    template = Template({"max_tokens": "$output_tokens", "s": "$service_seconds"})
    assert template.fill(NUMBERS) == {"max_tokens": 40, "s": 0.25}


def test_within_a_text_it_is_written_out_and_all_else_stays():
    body = {"user": "of $prompt_tokens tokens", "nested": [{"n": "$prompt_tokens"}, 1, None, "a$"]}
    filled = Template(body).fill(NUMBERS)
    assert filled == {"user": "of 3 tokens", "nested": [{"n": 3}, 1, None, "a$"]}
    assert body["user"] == "of $prompt_tokens tokens"


def test_a_prompt_has_as_many_words_as_tokens():
    filled = Template({"messages": [{"role": "user", "content": "$prompt"}]}).fill(NUMBERS)
    assert filled["messages"][0]["content"].split() == ["word"] * 3


def test_the_default_body_is_what_the_timed_model_wants():
    assert json.loads(Template(DEFAULT).encode(NUMBERS)) == {"service_seconds": 0.25}


def test_a_time_that_nobody_knows_cannot_be_filled_in():
    with pytest.raises(ValueError, match="not known before"):
        Template(DEFAULT).fill(NUMBERS._replace(service_s=None))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"body": {"n": ["$output_token"]}}, r"environments.chat.target.body: .*\$output_token "),
        ({"modell": "m"}, r"environments.chat.target.modell: Extra inputs"),
        ({"path": "predict"}, r"environments.chat.target.path: "),
    ],
)
def test_a_wrong_target_says_where_and_what(given, words):
    with pytest.raises(ReplayError, match=words):
        target_of("chat", given)


@pytest.mark.parametrize(
    ("name", "given", "predict"),
    [
        ("chat", None, "/models/chat/environments/production/predict"),
        ("chat.canary", {}, "/models/chat/environments/canary/predict"),
        ("chat", {"model": "llm", "environment": "eu"}, "/models/llm/environments/eu/predict"),
        ("chat", {"path": "/v1/completions"}, "/v1/completions"),
    ],
)
def test_where_requests_go(name, given, predict):
    assert place_of(name, target_of(name, given)).predict == predict


def test_asynchronous_requests_and_questions_go_to_the_environment_whatever_the_path():
    place = place_of("chat", target_of("chat", {"path": "/v1/completions"}))
    assert place.submit == "/models/chat/environments/production/async_predict"
    assert place.read == "/api/v1/models/chat/environments/production"
    assert str(place) == "chat/production"
