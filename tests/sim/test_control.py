"""The control channel over its socket, with an instrument that is as simple as can be."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from sim.control import Control, send
from sim.fake import Clock, CommandError, Fake, Keys


@dataclass
class Kettle:
    celsius: float = 20.0
    lid_open: bool = False
    label: str = "tea"
    cups: list[dict[str, int]] = field(default_factory=lambda: [{"sugar": 1}])

    def step(self, dt: float) -> None:
        self.celsius += dt

    def state(self) -> dict[str, Any]:
        return {"celsius": self.celsius}


class KettleFake(Fake[Kettle]):
    driver = "kettle"
    there = True

    @classmethod
    def of(cls, keys: Keys, clock: Clock) -> Self:
        return cls(Kettle(), clock)

    def plug(self) -> None:
        self.there = True

    def unplug(self) -> None:
        self.there = False

    def do_lid(self, opened: bool) -> None:
        """Open or close the lid."""
        self.model.lid_open = opened


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def kettle(clock: Time) -> KettleFake:
    return KettleFake(Kettle(), clock)


@pytest.fixture
def path(kettle: KettleFake, tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "folder" / "control")
    control = Control({"K1": kettle}, path)
    yield path
    control.close()
    assert not Path(path).exists()


def test_commands_reach_their_instrument(path: str, kettle: KettleFake) -> None:
    assert send(path, "K1 unplug") == ""
    assert not kettle.there
    send(path, "K1 plug")
    assert kettle.there


def test_it_lists_instruments_and_helps(path: str) -> None:
    assert send(path, "list") == "K1:kettle"
    assert "INSTRUMENT COMMAND" in send(path, "help")
    commands = send(path, "K1 help").splitlines()
    assert "plug: Plug the cable in." in commands
    assert any(each.startswith("late SECONDS [N]: ") for each in commands)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("K2 plug", "K2 is not a simulated instrument; there are: K1"),
        ("K1 explode", "explode is not a command of a kettle; see help"),
        ("K1 late", r"usage: late SECONDS \[N\]"),
        ("K1 late soon", r"usage: late SECONDS \[N\]"),
        ("K1 plug in", "usage: plug"),
        ("K1 lid opne", "usage: lid OPENED"),
        ("K1 set lid_open opne", "'opne' is not a bool"),
        ("K1 set pressure 1", "there is no pressure in the model"),
        ("K1 set cups.3.sugar 1", "there is no 3 in the model"),
        ("K1 set celsius warm", "'warm' is not a float"),
        ("K1 set cups 1", "this part of the model is a list: name one of its values"),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_sentence(path: str, line: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=f"^{sentence}$"):
        send(path, line)


def test_the_state_is_that_of_now(path: str, clock: Time) -> None:
    clock.now = 12.5
    assert json.loads(send(path, "K1 state")) == {"celsius": pytest.approx(32.5)}


def test_parts_of_the_model_are_set_in_their_own_type(path: str, kettle: KettleFake) -> None:
    for line in ("celsius 99", "lid_open yes", "label mate", "cups.0.sugar 3"):
        send(path, f"K1 set {line}")
    assert kettle.model == Kettle(99.0, True, "mate", [{"sugar": 3}])


@pytest.mark.parametrize(
    ("word", "opened"), [("on", True), ("True", True), ("1", True), ("off", False), ("0", False)]
)
def test_a_word_for_a_truth_value_is_what_it_says(path: str, kettle: KettleFake, word: str, opened: bool) -> None:
    for command in ("lid", "set lid_open"):
        kettle.model.lid_open = not opened
        send(path, f"K1 {command} {word}")
        assert kettle.model.lid_open is opened


def test_a_log_keeps_the_last_transactions(path: str, kettle: KettleFake) -> None:
    for number in range(30):
        kettle.record(f"question {number}")
    kettle.violate("too hot")
    log = json.loads(send(path, "K1 log 2"))
    assert log[0].endswith("question 29")
    assert log[1].endswith("VIOLATION too hot")
    assert json.loads(send(path, "K1 violations")) == ["too hot"]


def test_faults_count_themselves_off(kettle: KettleFake) -> None:
    kettle.run("garbage 2")
    assert [kettle.garbled() for _ in range(3)] == [True, True, False]
    kettle.run("late 0.5 1")
    assert [kettle.lateness() for _ in range(2)] == [0.5, 0]
    kettle.run("late 0.5")
    assert [kettle.lateness() for _ in range(9)] == [0.5] * 9
    kettle.run("late 0")
    assert kettle.lateness() == 0


def test_after_a_long_silence_the_steps_grow_instead_of_their_number(
    kettle: KettleFake, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[float] = []
    monkeypatch.setattr(kettle.model, "step", steps.append)
    clock.now = 0.1
    kettle.advance()
    clock.now = 3600.0
    kettle.advance()
    assert steps[:2] == [0.05, 0.05]
    assert len(steps) == 102
    assert sum(steps) == pytest.approx(3600)


def test_a_socket_left_behind_is_replaced(kettle: KettleFake, tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    before = path.stat()
    control = Control({"K1": kettle}, str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert (path.stat().st_ino, path.stat().st_ctime_ns) != (before.st_ino, before.st_ctime_ns)
    assert send(str(path), "list") == "K1:kettle"
    control.close()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3"])
def test_a_file_is_never_replaced_by_the_control_channel(kettle: KettleFake, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rack.sqlite"
    path.write_bytes(content)
    link = tmp_path / "link"
    link.symlink_to(path)
    for each in (path, link, tmp_path):
        with pytest.raises(RuntimeError, match=f"^{each} exists and is not a control channel; give another"):
            Control({"K1": kettle}, str(each))
    assert path.read_bytes() == content
    assert link.readlink() == path


def test_the_socket_of_another_kind_of_program_stays(kettle: KettleFake, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        with pytest.raises(RuntimeError, match=f"^{path} cannot be the control channel: "):
            Control({"K1": kettle}, str(path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", str(path))
        assert listener.recv(100) == b"READY=1"
