"""A storm of puts from five clients to one generator: pairs stay whole, the poll goes on, every put is answered."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ioc.ca.message import CREATE_CHAN, HEADER, NORMAL, PUT_FAIL, VERSION, WRITE_NOTIFY
from sim.technix.generator import WATCHDOG
from tests.client import Client
from tests.small_ioc import receive_exactly
from tests.system.conftest import GENERATOR, Ioc, Racks

pytestmark = pytest.mark.alone

CLIENTS = 5
STARVED = 1.5  # seconds that the poll may wait
LOOK = 0.1  # seconds between two looks at the transcript
DOUBLE, ENUM = 6, 3

POINTS = ("VSet", "ISet", "HV", "Inhibit", "Mode")
SETTINGS = (
    (30, "VSet", DOUBLE, (0.0, 30.0)),
    (25, "ISet", DOUBLE, (0.0, 20.0)),
    (4, "VSet", DOUBLE, (61.0, 99.0)),  # beyond the limit
    (20, "HV", ENUM, (1, 1)),
    (8, "Inhibit", ENUM, (0, 0)),
    (4, "Mode", ENUM, (0, 0)),
)
# what makes things safe overtakes the others, and has those refused that would undo it
SAFE = ((12, "HV", ENUM, (0, 0)), (6, "Inhibit", ENUM, (1, 1)))
Mix = tuple[tuple[int, str, int, tuple[float, float]], ...]


class Putter:
    """A client that puts: what it sent, by number, and the status that came back."""

    def __init__(self, ioc: Ioc, seed: int) -> None:
        self._dice = random.Random(seed)
        port = int(re.findall(r"TCP port (\d+)", ioc.logged())[-1])
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self.sent: dict[int, tuple[str, float]] = {}
        self.answers: dict[int, int] = {}
        self.error: BaseException | None = None
        self._sids: dict[str, int] = {}
        self._socket.sendall(HEADER.pack(VERSION, 0, 0, 13, 0, 0))
        for point in POINTS:
            name = ioc(f"GEN:{point}").encode()
            name += bytes(8 - len(name) % 8)
            self._socket.sendall(HEADER.pack(CREATE_CHAN, len(name), 0, 0, 1, 13) + name)
            while (answer := self._message())[0] != CREATE_CHAN:
                pass
            self._sids[point] = answer[2]

    def storm(self, at_once: tuple[int, Mix], in_turn: tuple[int, Mix]) -> None:
        """Many at once, then more in turn: how many, of what."""
        try:
            self._socket.sendall(b"".join(self._put(at_once[1]) for _ in range(at_once[0])))
            self._hear(0)
            for _ in range(in_turn[0]):
                self._socket.sendall(self._put(in_turn[1]))
                self._hear(1)
            self._hear(0)
        except BaseException as error:
            self.error = error

    def close(self) -> None:
        self._socket.close()

    def _put(self, mix: Mix) -> bytes:
        _, point, dtype, (low, high) = self._dice.choices(mix, [weight for weight, *_ in mix])[0]
        value = self._dice.uniform(low, high) if dtype == DOUBLE else low
        number = len(self.sent)
        self.sent[number] = (point, value)
        data = struct.pack(">d", value) if dtype == DOUBLE else struct.pack(">H6x", int(value))
        return HEADER.pack(WRITE_NOTIFY, 8, dtype, 1, self._sids[point], number) + data

    def _hear(self, waiting: int) -> None:
        """Take answers until so many are still to come."""
        while len(self.sent) - len(self.answers) > waiting:
            command, status, number = self._message()
            assert command == WRITE_NOTIFY
            assert number not in self.answers, "answered twice"
            self.answers[number] = status

    def _message(self) -> tuple[int, int, int]:
        command, size, _, _, first, second = HEADER.unpack(receive_exactly(self._socket, HEADER.size))
        receive_exactly(self._socket, size)
        return command, first, second


class Transcript:
    """What went over the line: the fake remembers the last 1000 commands, here they are put together."""

    def __init__(self, ioc: Ioc) -> None:
        self._ioc = ioc
        self._entries = self._last()
        self._begin = len(self._entries)
        self._polled = time.monotonic()
        self._heard = self._polled
        self.starved = 0.0  # the longest time without a poll of the voltage, which nothing but the scan asks for
        self.silent = 0.0  # the longest time without any command
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    @property
    def commands(self) -> list[str]:
        """The commands since the beginning, in order."""
        return [entry.split(" ", 1)[1] for entry in self._entries[self._begin :]]

    @contextmanager
    def followed(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _last(self) -> list[str]:
        entries: list[str] = json.loads(self._ioc.fault("GEN log 1000"))
        return entries

    def _follow(self) -> None:
        try:
            while not self._stop.wait(LOOK):
                self._look()
        except BaseException as error:
            self.error = error

    def _look(self) -> None:
        last = self._last()
        fresh = last[self._overlap(last) :]
        self._entries += fresh
        now = time.monotonic()
        if any(" a1 -> " in entry for entry in fresh):
            self._polled = now
        if fresh:
            self._heard = now
        self.starved = max(self.starved, now - self._polled)
        self.silent = max(self.silent, now - self._heard)

    def _overlap(self, last: list[str]) -> int:
        """How many of these are known: some tenths of a second are some tens of commands, of a thousand."""
        for size in range(min(len(last), len(self._entries)), 0, -1):
            if last[:size] == self._entries[-size:]:
                return size
        raise AssertionError("commands were missed")


@pytest.fixture(scope="module")
def ioc(racks: Racks) -> Ioc:
    return racks.start({"GEN": GENERATOR})


Storm = Callable[..., tuple[list[Putter], Transcript]]


@pytest.fixture
def storm(ioc: Ioc, ca: Client) -> Iterator[Storm]:
    """Five clients put at the same time; afterwards: the clients, and what went over the line."""
    ca.wait(ioc("GEN:Conn"), lambda value: value == 2)
    ca.put(ioc("GEN:Mode"), "Remote")
    ca.put(ioc("GEN:ISet"), 1)
    ca.put(ioc("GEN:VSet"), 1)
    ca.put(ioc("GEN:Inhibit"), "Off")
    clients = [Putter(ioc, seed) for seed in range(CLIENTS)]

    def go(at_once: tuple[int, Mix], in_turn: tuple[int, Mix]) -> tuple[list[Putter], Transcript]:
        transcript = Transcript(ioc)
        threads = [threading.Thread(target=client.storm, args=(at_once, in_turn)) for client in clients]
        with transcript.followed():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(0.5)
        errors = [*(client.error for client in clients), transcript.error]
        assert [error for error in errors if error] == []
        return clients, transcript

    yield go
    for client in clients:
        client.close()


def test_in_a_storm_of_puts_pairs_stay_whole_the_poll_goes_on_and_all_are_answered(
    ioc: Ioc, ca: Client, storm: Storm
) -> None:
    """Three hundred puts at once, then two hundred in turn with HV off and inhibition among them."""
    clients, transcript = storm((60, SETTINGS), (40, SETTINGS + SAFE))
    commands = transcript.commands

    # every put was answered, with success or refusal
    outcomes: Counter[tuple[str, float, int]] = Counter()
    for client in clients:
        assert client.sent.keys() == client.answers.keys()
        outcomes.update((*client.sent[number], status) for number, status in client.answers.items())
    assert {status for *_, status in outcomes} == {NORMAL, PUT_FAIL}
    assert not [put for put in outcomes if put[0] == "VSet" and put[1] > 60 and put[2] == NORMAL]

    # the generator got each setting that was said to be taken, and no other
    for point, letter in (("VSet", "d1"), ("ISet", "d2")):
        taken = sum(count for (name, _, status), count in outcomes.items() if (name, status) == (point, NORMAL))
        assert taken == sum(command.startswith(f"{letter},") for command in commands)
        assert taken > 20

    # the halves of a pair follow each other, with nothing in between
    for first, second in (("P5,1", "P5,0"), ("P6,1", "P6,0")):
        halves = [number for number, command in enumerate(commands) if command.startswith(first)]
        assert len(halves) >= 3  # an Off that is pending takes the others along, and an On that is on sends nothing
        assert {commands[number + 1] for number in halves} == {f"{second} -> {second}"}
        assert len([command for command in commands if command.startswith(second)]) == len(halves)
    assert not [command for command in commands if command.endswith("silence")]
    assert ioc.fault("GEN violations") == "[]"

    # the poll was never starved, and the generator never near its watchdog
    assert transcript.silent < STARVED
    assert transcript.starved < STARVED + 2 * LOOK
    assert float(ca.get(ioc("GEN:WD:Margin"))) > WATCHDOG - STARVED
    assert int(ca.get(ioc("GEN:WD:Strikes"))) == 0

    # what clients are shown is what is
    ca.wait(ioc("GEN:Status"), lambda value: value.severity == 0)
    state = json.loads(ioc.fault("GEN state"))
    assert ca.text(ioc("GEN:HV_RBV")) == ("On" if state["on"] else "Off")
    assert ca.text(ioc("GEN:Inhibit_RBV")) == ("On" if state["inhibited"] else "Off")
    assert float(ca.get(ioc("GEN:VSet"))) == pytest.approx(state["set_kv"])


def test_a_burst_of_puts_that_make_things_safe_does_not_starve_the_poll(ioc: Ioc, ca: Client, storm: Storm) -> None:
    """Fifty at once: they overtake everything, but what is shown must not stand still meanwhile."""
    clients, transcript = storm((10, SAFE), (0, SAFE))
    assert {status for client in clients for status in client.answers.values()} == {NORMAL}
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"
    assert ioc.fault("GEN violations") == "[]"
    assert transcript.silent < STARVED
    assert transcript.starved < STARVED + 2 * LOOK
