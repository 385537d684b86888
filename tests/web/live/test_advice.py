"""What an operator is told about an alarm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import web
from rackioc import guidance
from web.rack.advice import Advice
from web.rack.rack import Rack

MESSAGES = Path(web.__file__).parents[1] / "docs" / "messages.yaml"


@pytest.fixture
def advice() -> Advice:
    rack = Rack("T:", {"TC1": "se521"}, "T:LIST", "T:SAFE", "T:KINDS")
    return Advice(rack, lambda kind, prefix, point: f"look at {kind} {point}")


def test_a_sentence_of_the_program_has_its_cause_and_remedy(advice: Advice) -> None:
    cause, remedy = advice.of("T:TC1:Conn", "crate-7: slot 4 is configured, but there is no board in it")
    assert cause.startswith("The crate reports the slot as empty")
    assert remedy.startswith("Plug the board in")


def test_what_an_alarm_has_of_a_sentence_is_not_taken_for_another_one(advice: Advice) -> None:
    sentences = yaml.safe_load(MESSAGES.read_text(encoding="utf-8"))
    told = {each: advice.of("T:TC1:T1", re.sub(r"<\w+>", "abc", each)[:39])[0] for each in sentences}
    long = {each: cause for each, cause in told.items() if len(re.sub(r"<\w+>", "abc", each)) > 39}
    assert {each: cause for each, cause in long.items() if cause not in ("", sentences[each]["cause"])} == {}
    assert sum(map(bool, long.values())) > 0.9 * len(long)


def test_a_refused_put_has_its_cause_though_the_alarm_has_but_its_begin(advice: Advice) -> None:
    cause, remedy = advice.of("T:TC1:T1", "500 kV is above the upper limit DRVH of 60 kV; not sent to T:TC1:T1"[:39])
    assert cause.startswith("The value is above the highest one")
    assert remedy.startswith("Put a value within the limits")


def test_of_sentences_that_begin_alike_none_is_told(advice: Advice) -> None:
    assert advice.of("T:TC1:T1", "the archiver is not running (no process") == ("", "look at se521 T1")


@pytest.mark.parametrize("sentence", ["", "something else", "a: b", "x" * 5000, "(.*)+$" * 50])
def test_any_other_has_what_to_do_about_such_a_pv(advice: Advice, sentence: str) -> None:
    assert advice.of("T:TC1:T1", sentence) == ("", "look at se521 T1")
    assert advice.of("OTHER:PV", sentence) == ("", "")


@pytest.mark.parametrize(
    ("point", "condition"),
    [("Interlock", "Open: "), ("Fault", "Fault: "), ("VMon", "Above the configured limit: "), ("OnCmd", "Given: ")],
)
def test_what_to_do_about_a_generator_is_not_told_as_if_what_was_not_read_were_so(point: str, condition: str) -> None:
    told = guidance.remedy("technix", "T:GEN:", point)
    assert told.startswith(condition)
    assert told.endswith("INVALID: it was not read, and is not known; read T:GEN:Error.VAL$.")
