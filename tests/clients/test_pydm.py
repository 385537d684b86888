"""Widgets of PyDM, without a screen: what they show, and what is done in them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.client import Client
from tests.clients.peer import Peer
from tests.small_ioc import until
from tests.system.conftest import Ioc

CHANNEL = "HV1:S02:C00"
# of PyDM's style sheet
MINOR, INVALID = "#ebeb00", "#eb00eb"


@pytest.fixture(scope="module")
def pydm(start: Callable[[str], Peer]) -> Peer:
    return start("pydm")


def shows(pydm: Peer, widget: str, **expected: object) -> None:
    """Wait until a widget shows this."""
    deadline = time.monotonic() + 5
    while (seen := pydm.ask("seen", widget)) != {**seen, **expected}:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def test_labels_show_value_unit_and_long_text(rack: Ioc, pydm: Peer, ca: Client) -> None:
    ca.put(rack(f"{CHANNEL}:V0Set"), 21)
    sentence = ca.refused(rack(f"{CHANNEL}:V0Set"), 1e6)
    ca.put(rack(f"{CHANNEL}:V0Set"), 22)
    pydm.ask("show", "readback", "label", rack(f"{CHANNEL}:V0Set_RBV"))
    pydm.ask("show", "error", "label", rack("HV1:Error.VAL$"))
    shows(pydm, "readback", text="22.0 V", enabled=True)
    shows(pydm, "error", text=sentence)


def test_an_enum_offers_the_words_and_puts_the_one_chosen(rack: Ioc, pydm: Peer, ca: Client) -> None:
    ca.put(rack(f"{CHANNEL}:Pw"), "Off")
    pydm.ask("show", "power", "enum", rack(f"{CHANNEL}:Pw"))
    shows(pydm, "power", text="Off", words=["Off", "On"], enabled=True)
    for word in ("On", "Off"):
        pydm.ask("choose", "power", word)
        until(lambda word=word: ca.text(rack(f"{CHANNEL}:Pw_RBV")) == word)  # type: ignore[misc]
        shows(pydm, "power", text=word)


def test_a_line_edit_puts_and_the_border_of_the_setpoint_tells_a_refusal(rack: Ioc, pydm: Peer, ca: Client) -> None:
    ca.put(rack(f"{CHANNEL}:V0Set"), 22)
    pydm.ask("show", "setpoint", "line", rack(f"{CHANNEL}:V0Set"))
    shows(pydm, "setpoint", text="22.0", enabled=True)
    good = pydm.ask("seen", "setpoint")["border"]
    pydm.ask("type", "setpoint", "33")
    until(lambda: float(ca.get(rack(f"{CHANNEL}:V0Set"))) == 33)
    shows(pydm, "setpoint", text="33.0", border=good)
    pydm.ask("type", "setpoint", "1e6")
    shows(pydm, "setpoint", border=MINOR)
    assert float(ca.get(rack(f"{CHANNEL}:V0Set"))) == 33
    pydm.ask("type", "setpoint", "34")
    shows(pydm, "setpoint", text="34.0", border=good)


def test_a_label_of_a_lost_instrument_has_the_colour_of_invalid(rack: Ioc, pydm: Peer) -> None:
    pydm.ask("show", "voltage", "label", rack(f"{CHANNEL}:VMon"))
    until(lambda: pydm.ask("seen", "voltage")["text"].endswith(" V"))
    rack.fault("HV1 unplug")
    shows(pydm, "voltage", border=INVALID, enabled=True)
    rack.fault("HV1 plug")
    until(lambda: pydm.ask("seen", "voltage")["border"] != INVALID, 20)
