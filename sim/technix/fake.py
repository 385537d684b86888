"""A Technix generator at the far end of a serial line: its protocol, and its faults."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Self

from sim.control import Control
from sim.fake import SPLIT_PAUSE, Clock, CommandError, Fake, Keys
from sim.pty_port import PtyPort
from sim.technix.generator import Contact, Generator

# Full scale on the wire: 12 bits
TOP = 4095
# Seconds that a character takes on the wire: start, 8 data bits, stop
CHARACTER = 10 / 9600

_SETTING = re.compile(r"(d[12]|P[5-8]),(\d{1,4})")
_QUESTIONS = ("a1", "a2", "E")


class Protocol:
    """The RS-232 protocol of the manual: one command in, its answer out."""

    def __init__(self, fake: Fake[Generator]) -> None:
        self.fake = fake
        self.generator = fake.model

    def answer(self, command: str) -> str | None:
        """Return the answer, which repeats the command; a value follows without a separator. None is silence."""
        setting = _SETTING.fullmatch(command)
        if command not in _QUESTIONS and (setting is None or not _in_range(setting)):
            return None
        self.generator.silence = 0.0
        if setting is None:
            return f"{command}{self._read(command)}"
        self._write(setting[1], int(setting[2]))
        return command

    def answered(self, command: str) -> None:
        """Start the pause of a pair: the answer has left."""
        contact = {"P5,1": self.generator.on_contact, "P6,1": self.generator.off_contact}.get(command)
        if contact:
            contact.held = 0.0

    def _write(self, name: str, number: int) -> None:
        generator = self.generator
        self.fake.writes += 1
        match name:
            case "d1":
                generator.set_kv, generator.keeps_voltage = number / TOP * generator.full_kv, True
            case "d2":
                generator.set_ma, generator.keeps_voltage = number / TOP * generator.full_ma, False
            case "P5":
                if self._works(generator.on_contact, name, number):
                    generator.switch_on()
            case "P6":
                if self._works(generator.off_contact, name, number):
                    generator.switch_off()
            case "P7":
                generator.go_local(bool(number))
            case "P8":
                generator.inhibited = bool(number)

    def _works(self, contact: Contact, name: str, closes: int) -> bool:
        """Work a contact; returns True when that takes effect."""
        if closes:
            contact.close()
            return False
        if contact.closed and not contact.held_long_enough:
            self.fake.violate(f"{name},0 came {contact.held * 1000:.0f} ms after the answer to {name},1, not 100 ms")
        return contact.release()

    def _read(self, question: str) -> int:
        generator = self.generator
        match question:
            case "a1":
                return self._convert(generator.kv / generator.full_kv)
            case "a2":
                return self._convert(generator.ma / generator.full_ma)
        return _status(generator)

    def _convert(self, fraction: float) -> int:
        """Return the converter's reading: 0 without output, even while the output still falls."""
        if not self.generator.producing:
            return 0
        noise = self.fake.random.gauss(0, self.generator.noise)
        return max(0, min(TOP, round(fraction * TOP + noise)))


def _in_range(setting: re.Match[str]) -> bool:
    return int(setting[2]) <= (TOP if setting[1].startswith("d") else 1)


def _status(generator: Generator) -> int:
    """Return the status word: bits 8 (the highest) to 1 of the manual."""
    bits = (
        generator.inhibited,
        generator.local,
        generator.off_contact.closed,
        generator.on_contact.closed,
        generator.on,
        generator.interlock_open,
        generator.fault,
        generator.regulates_voltage,
    )
    return int("".join(str(int(bit)) for bit in bits), 2)


class TechnixFake(Fake[Generator]):
    """A generator on a pty; with ``baud_pacing`` an exchange takes as long as at 9600 baud."""

    driver = "technix"

    def __init__(
        self, port: str, generator: Generator, *, baud_pacing: bool = True, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(generator, clock)
        self.port = port
        self.protocol = Protocol(self)
        self.character = CHARACTER if baud_pacing else 0.0
        self.dropping = False
        self._pty: PtyPort | None = None
        self._thread = threading.Thread()

    @classmethod
    def of(cls, keys: Keys, clock: Clock) -> Self:
        """Make the generator of these keys."""
        scale = keys.get("full_scale", {})
        generator = Generator(
            full_kv=float(scale.get("voltage_kv", 100)), full_ma=float(scale.get("current_ma", 50)), noise=0.5
        )
        return cls(str(keys["port"]), generator, clock=clock)

    def plug(self) -> None:
        """Appear at the end of the line."""
        if self._pty is None:
            self._pty = PtyPort(self.port)
            self._thread = threading.Thread(target=self._serve, args=(self._pty,), name="technix", daemon=True)
            self._thread.start()

    def unplug(self) -> None:
        """Vanish from the line."""
        if self._pty is not None:
            self._pty.close()
            self._pty = None
            self._thread.join()

    def _serve(self, pty: PtyPort) -> None:
        """Answer one command after the other, from plug to unplug."""
        while (line := pty.read_line()) is not None:
            command = line.decode("latin-1")
            answer = self._handle(command)
            self.record(f"{command} -> {answer or 'silence'}")
            if answer is not None:
                self._send(pty, command, answer)
        pty.release()

    def _handle(self, command: str) -> str | None:
        if self.dropping and command in ("P5,0", "P6,0"):
            self.dropping = False
            return None
        with self.present():
            return self.protocol.answer(command)

    def _send(self, pty: PtyPort, command: str, answer: str) -> None:
        """Send the answer as the line and its faults let it through."""
        pty.wait((len(command) + len(answer) + 2) * self.character + self.lateness())
        with self.present():
            self.protocol.answered(command)
        if self.muted:
            return
        data = answer.encode() if not self.garbled() else self.random.randbytes(len(answer)).replace(b"\r", b"?")
        half = len(data) // 2 if self.split else 0
        if half:
            pty.write(data[:half])
            pty.wait(SPLIT_PAUSE)
        pty.write(data[half:] + b"\r")

    def do_interlock(self, position: str) -> None:
        """Open or close the interlock."""
        if position not in ("open", "close"):
            raise CommandError("usage: interlock open|close")
        with self.present() as generator:
            generator.open_interlock(position == "open")

    def do_fault(self) -> None:
        """Let something fail inside."""
        with self.present() as generator:
            generator.fail()

    def do_reset(self) -> None:
        """Press HV off on the front panel."""
        with self.present() as generator:
            generator.press_off_button()

    def do_local(self) -> None:
        """Switch to local mode at the front panel."""
        with self.present() as generator:
            generator.go_local(True)

    def do_drop_half(self) -> None:
        """Lose the second half of the next HV on or HV off pair."""
        self.dropping = True


def serve(port: str, control_path: str, *, started: Callable[[], None] = lambda: None) -> None:
    """Serve one fake generator, named GEN on the control channel, until SIGINT or SIGTERM.

    The control channel is there once the line is; then ``started`` is called. Raises RuntimeError when something real
    is at ``port``, or another simulation at ``control_path``; OSError for a path that cannot be.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    fake = TechnixFake(port, Generator())
    fake.plug()
    try:
        control = Control({"GEN": fake}, control_path)
        started()
        stop.wait()
        control.close()
    finally:
        fake.unplug()
