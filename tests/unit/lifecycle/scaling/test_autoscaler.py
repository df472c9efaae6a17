"""Several policies, their failures, and other settings at run time."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.lifecycle.scaling.autoscaler import Autoscaler
from orchestrator.lifecycle.scaling.pace import Decision
from orchestrator.lifecycle.scaling.policy import Seen
from orchestrator.lifecycle.settings import AutoscalingSettings, PolicySpec
from tests.unit.lifecycle.scaling.policies import HERE


def spec(name: str, **settings: Any) -> PolicySpec:
    return PolicySpec(f"{HERE}:{name}" if name[0].isupper() else name, settings)


def settings(*policies: PolicySpec, **changes: Any) -> AutoscalingSettings:
    values: dict[str, Any] = {"max_replica": 20, "scale_down_delay_s": 0.0, "policies": policies}
    return AutoscalingSettings(**(values | changes))


def autoscaler(*policies: PolicySpec, current: int = 0, **changes: Any) -> Autoscaler:
    return Autoscaler(settings(*policies, **changes), now=0.0, current=current)


def decide(scaled: Autoscaler, now: float, *, wake: bool = False, **seen: Any) -> Decision:
    return scaled.decide(now, Seen(scaling=AutoscalingSettings(), **seen), wake=wake)


def test_whoever_asks_for_most_has_it_and_is_named():
    scaled = autoscaler(spec("Fixed", replicas=2), spec("Fixed", replicas=5), spec("concurrency"))
    assert decide(scaled, 1.0) == Decision(5, "Fixed: always 5")


def test_of_equal_wishes_the_first_gives_the_reason():
    scaled = autoscaler(spec("concurrency"), spec("Fixed", replicas=0))
    assert decide(scaled, 1.0).reason == "concurrency: 0.00 in flight over 60 s, 0.7 a replica"


def test_a_policy_alone_needs_no_name():
    assert decide(autoscaler(spec("Fixed", replicas=3)), 1.0) == Decision(3, "always 3")


def test_bounds_come_after_the_policies():
    scaled = autoscaler(spec("Fixed", replicas=100), min_replica=1, max_replica=4)
    assert decide(scaled, 1.0).desired == 4
    assert decide(autoscaler(spec("Answers", replicas=-3), min_replica=2), 1.0).desired == 2


@pytest.mark.parametrize(
    ("seen", "wake", "desired"), [({}, False, 0), ({"in_flight": 0.2}, False, 1), ({}, True, 1)]
)
def test_who_asks_for_nothing_gets_one_replica_for_what_is_there(seen, wake, desired):
    assert decide(autoscaler(spec("Fixed", replicas=0)), 1.0, wake=wake, **seen).desired == desired


def test_a_policy_that_cannot_be_loaded_keeps_the_number_and_says_why():
    scaled = autoscaler(PolicySpec("nowhere.at_all:Policy"), current=3, min_replica=1)
    because = "policy nowhere.at_all:Policy cannot be loaded: there is no module 'nowhere'"
    assert decide(scaled, 1.0, in_flight=50.0) == Decision(3, because)
    assert scaled.trouble == because


def test_without_any_policy_that_works_a_request_still_gets_a_replica():
    scaled = autoscaler(PolicySpec("nowhere:Policy"))
    assert decide(scaled, 1.0).desired == 0
    assert decide(scaled, 2.0, in_flight=1.0).desired == 1
    assert decide(scaled, 3.0, wake=True).desired == 1


def test_policies_beside_one_that_cannot_be_loaded_go_on():
    scaled = autoscaler(PolicySpec("panik"), spec("Fixed", replicas=2))
    decision = decide(scaled, 1.0)
    assert decision.desired == 2
    assert decision.reason.startswith("Fixed: always 2; policy panik cannot be loaded: it is none")


def test_a_policy_that_fails_is_left_out_until_it_works_again():
    scaled = autoscaler(spec("FailsWhileSomebodyWaits"), spec("Fixed", replicas=1))
    assert decide(scaled, 1.0).desired == 4
    assert not scaled.trouble
    failed = decide(scaled, 2.0, waiting=1)
    assert failed.desired == 2  # no delay, but half a step
    assert "FailsWhileSomebodyWaits failed: ZeroDivisionError: integer division" in failed.reason
    assert "failed" in scaled.trouble
    assert decide(scaled, 3.0).desired == 4
    assert not scaled.trouble


def test_a_policy_that_fails_alone_keeps_the_number():
    scaled = autoscaler(spec("FailsWhileSomebodyWaits"))
    assert decide(scaled, 1.0).desired == 4
    assert decide(scaled, 2.0, waiting=1, in_flight=1.0).desired == 4


@pytest.mark.parametrize("replicas", [2.5, None, "3", float("nan")])
def test_an_answer_that_is_no_whole_number_is_a_failure(replicas: Any):
    scaled = autoscaler(spec("Answers", replicas=replicas), current=1)
    decision = decide(scaled, 1.0)
    assert decision.desired == 1
    assert "not a Wish with a whole number of replicas" in decision.reason


def test_other_bounds_and_delays_leave_policies_alone():
    scaled = autoscaler(spec("Rising"))
    assert [decide(scaled, now).desired for now in (1.0, 2.0, 3.0)] == [1, 2, 3]
    scaled.reconfigure(settings(spec("Rising"), max_replica=4))
    assert [decide(scaled, now).desired for now in (4.0, 5.0)] == [4, 4]


def test_only_policies_whose_settings_changed_begin_anew():
    scaled = autoscaler(spec("Rising"), spec("Rising", step=2))
    for now in range(3):
        decide(scaled, float(now))
    scaled.reconfigure(settings(spec("Rising", step=3), spec("Rising")))
    # By ones from three, by threes from nothing.
    assert [decide(scaled, now).desired for now in (4.0, 5.0, 6.0)] == [4, 6, 9]


def test_two_equal_policies_are_two():
    scaled = autoscaler(spec("Rising"), spec("Rising"))
    decide(scaled, 1.0)
    scaled.reconfigure(settings(spec("Rising"), spec("Rising"), spec("Rising"), max_replica=2))
    assert decide(scaled, 2.0).desired == 2
    assert len({id(member.policy) for member in scaled._policies._members}) == 3


def test_a_policy_that_could_not_be_loaded_is_tried_again_with_the_next_settings(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = PolicySpec("written_later:Mine")
    scaled = autoscaler(mine)
    assert "there is no module" in decide(scaled, 1.0).reason
    text = (
        "from orchestrator.lifecycle.scaling.policy import Wish\n"
        "class Mine:\n"
        "    def wish(self, now, seen):\n"
        "        return Wish(2, 'here now')\n"
    )
    (tmp_path / "written_later.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    scaled.reconfigure(settings(mine))
    assert decide(scaled, 2.0) == Decision(2, "here now")
    assert not scaled.trouble
