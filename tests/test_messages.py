"""The page of messages: it has every sentence of the code, with cause and remedy, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docs import messages
from docs.sentences import Reader

ADDING = (Path(__file__).parents[1] / "docs" / "tutorials" / "adding-an-instrument.md").read_text(encoding="utf-8")


def test_each_message_of_the_code_has_a_cause_and_a_remedy() -> None:
    assert messages.missing(messages.read_remedies()) == []


def test_nothing_is_explained_that_no_code_says() -> None:
    assert messages.superfluous(messages.read_remedies()) == []


def test_the_page_is_the_one_that_the_code_makes() -> None:
    made = messages.page(messages.read_remedies())
    assert made == messages.PAGE.read_text(encoding="utf-8"), "make it anew: python -m docs.messages"


def test_cause_and_remedy_are_read_beside_a_message_that_is_filled_in() -> None:
    bare = {
        (message, blank)
        for message, advice in messages.read_remedies().items()
        for blank in re.findall(r"<[^<>]+>", message)
        if blank in advice["cause"] + advice["remedy"]
    }
    assert bare == set()


def test_what_is_raised_logged_printed_and_reported_is_found_however_it_is_put_together() -> None:
    found = {each.text for each in messages.messages()}
    assert {
        "<url> is gone: <error>",  # raised
        "serving <number of names> records on TCP port <port>",  # logged
        "matches no PV; 'rackioc pvs' lists the names",  # a fault of the configuration
        "a sample has waited for its commit for <lag> s",  # printed by rackioc status
        "<label> can be read again",  # kept in a list that is logged
        "no permission for the SE521: install the udev rule in deploy/",  # in a table of sentences
        "is missing; allowed: <names>",  # with one of two beginnings
        "another archiver already runs for this configuration (pid <pid>); <path> is locked",  # the longest form
        "<shown> must be <expected>",  # made by a function
        "<path> is a URL; a simulated port needs a path, such as /tmp/rack/generator",  # said by a simulation
    } <= found


def test_a_fault_of_a_configuration_is_with_the_others_whichever_file_finds_it() -> None:
    places = {each.text: each.place for each in messages.messages()}
    assert places["names a channel twice"] == "Configuration"  # drivers/caen
    assert places["SE521 is not connected"] == "Center SE521"


FORMS = """
class Cause(StrEnum):
    LATE = "it came late"
    OLD = "it is old"

_TABLE: tuple = ((1, "the first is broken"), (2, "the second is broken"))

class Box:
    def lid(self):
        text = f"{self.name} is open"
        if self.locked:
            text += " and locked"
        raise ValueError(text)

    def hinge(self):
        reason: str = "the hinge is loose"
        raise ValueError(reason)

    def _why(self):
        return "the key is lost" if self.key else "the lock is rusty"

    def lock(self):
        raise ValueError(f"{self.name}: {self._why()}")

    def check(self):
        for number, problem in _TABLE:
            log.warning(f"{number}: {problem}")
        raise ValueError(reason="nobody has looked")

def join(error, name, file):
    raise ValueError("; ".join(["one is missing", f"{name} is missing"]))

def instead(error, file):
    raise ValueError(f"it failed: {error or 'no reason is known'}; no {'file' if file else 'folder'}")

def _weigh(text, wanted):
    raise ValueError(f"{text} is not {wanted}")

def weigh(text):
    _weigh(text, "a weight: write 5 kg")
    _weigh(text, "a length: write 5 m")
"""


def test_each_form_in_which_a_sentence_can_stand_is_read(tmp_path: Path) -> None:
    file = tmp_path / "forms.py"
    file.write_text(FORMS, encoding="utf-8")
    assert {text for text, _ in Reader(file).texts()} == {
        *("it came late", "it is old"),
        *("<number>: the first is broken", "<number>: the second is broken"),
        *("<name> is open and locked", "the hinge is loose", "nobody has looked"),
        *("<name>: the key is lost", "<name>: the lock is rusty"),
        *("one is missing", "<name> is missing"),
        *("it failed: <error>; no file", "it failed: <error>; no folder", "no reason is known"),
        *("<text> is not a weight: write 5 kg", "<text> is not a length: write 5 m"),
    }


def test_a_new_driver_gets_a_heading_from_its_docstring_and_is_registered_nowhere(tmp_path: Path) -> None:
    driver = tmp_path / "drivers" / "gauge.py"
    driver.parent.mkdir()
    fake = tmp_path / "sim" / "gauge.py"
    fake.parent.mkdir()
    for path, text in zip((driver, fake), re.findall(r"(?ms)^```python\n(.*?)^```", ADDING), strict=False):
        path.write_text(text, encoding="utf-8")
    entries = yaml.safe_load(ADDING.partition("into `docs/messages.yaml`:\n\n```yaml\n")[2].partition("```")[0])
    page = messages.page(entries, tmp_path)
    assert "## An invented vacuum gauge with one setpoint relay\n" in page
    assert {each.text for each in messages.messages(tmp_path)} >= entries.keys()


def test_a_cause_with_a_colon_and_no_quotes_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(messages, "REMEDIES", tmp_path / "messages.yaml")
    messages.REMEDIES.write_text("no answer:\n  cause: It is off: switch it on.\n", encoding="utf-8")
    assert messages.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("messages.yaml is not YAML (a text with a colon needs quotes): ")
    assert "line 2" in told


def test_a_driver_without_a_docstring_is_headed_by_its_name(tmp_path: Path) -> None:
    package = tmp_path / "drivers" / "pump"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "line.py").write_text(
        "def ask() -> None:\n    raise ValueError('the pump is off')\n", encoding="utf-8"
    )
    assert messages.messages(tmp_path) == [messages.Message("pump", "the pump is off")]


def test_what_a_fake_says_to_a_driver_is_no_message() -> None:
    assert "Resource busy" not in {each.text for each in messages.messages()}


def test_the_page_is_a_table_of_three_columns_in_each_section() -> None:
    rows = [line for line in messages.page(messages.read_remedies()).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
