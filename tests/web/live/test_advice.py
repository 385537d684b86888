"""What an operator is told about an alarm."""

from __future__ import annotations

import pytest

from rackioc import guidance
from web.rack.advice import Advice
from web.rack.rack import Rack


@pytest.fixture
def advice() -> Advice:
    rack = Rack("T:", {"TC1": "se521"}, "T:LIST", "T:SAFE", "T:KINDS")
    return Advice(rack, lambda kind, prefix, point: f"look at {kind} {point}")


def test_a_sentence_of_the_program_has_its_cause_and_remedy(advice: Advice) -> None:
    cause, remedy = advice.of("T:TC1:Conn", "crate-7: slot 4 is configured, but there is no board in it")
    assert cause.startswith("The crate reports the slot as empty")
    assert remedy.startswith("Plug the board in")


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
