"""The RS-232 protocol of a Technix generator, from the manual."""

from __future__ import annotations

import re
from typing import Protocol as Interface

from sim.fake import Fake
from sim.technix.generator import Contact, Generator

# Full scale on the wire: 12 bits
TOP = 4095

QUESTIONS = ("a1", "a2", "E")
_SETTING = re.compile(r"(d[12]|P[5-8]),(\d{1,4})")


class Ignoring(Interface):
    """What may keep a command from acting."""

    def ignored(self, command: str) -> bool:
        """Return True when this command is to have no effect, and count it."""


class Protocol:
    """One command in, its answer out."""

    def __init__(self, fake: Fake[Generator], faults: Ignoring) -> None:
        self.fake = fake
        self.faults = faults
        self.generator = fake.model

    def answer(self, command: str) -> str | None:
        """Return the answer, which repeats the command; a value follows without a separator. None is silence."""
        setting = _SETTING.fullmatch(command)
        if command not in QUESTIONS and (setting is None or not _in_range(setting)):
            return None
        self.generator.silence = 0.0
        if setting is None:
            return f"{command}{self._read(command)}"
        self._write(setting[1], int(setting[2]))
        return command

    def answered(self, command: str, *, late: bool = False) -> None:
        """Start the pause of a pair: the answer has left."""
        contact = {"P5,1": self.generator.on_contact, "P6,1": self.generator.off_contact}.get(command)
        if contact:
            contact.held, contact.late = 0.0, late

    def _write(self, name: str, number: int) -> None:
        generator = self.generator
        self.fake.writes += 1
        if name in ("P5", "P6"):
            self._work(name, number)
        elif not self.faults.ignored(name if name.startswith("d") else f"{name},{number}"):
            match name:
                case "d1":
                    generator.set_kv, generator.keeps_voltage = number / TOP * generator.full_kv, True
                case "d2":
                    generator.set_ma, generator.keeps_voltage = number / TOP * generator.full_ma, False
                case "P7":
                    generator.go_local(bool(number))
                case "P8":
                    generator.inhibited = bool(number)

    def _work(self, name: str, closes: int) -> None:
        """Close a contact, or release it, which switches unless a fault keeps it from that."""
        generator = self.generator
        contact = generator.on_contact if name == "P5" else generator.off_contact
        if closes:
            contact.close()
        elif self._released(contact, name) and not self.faults.ignored(f"{name},0"):
            generator.switch_on() if name == "P5" else generator.switch_off()

    def _released(self, contact: Contact, name: str) -> bool:
        """Release a contact; returns True when that takes effect."""
        if contact.closed and not (contact.held_long_enough or contact.late):
            self.fake.violate(f"{name},0 came {contact.held * 1000:.0f} ms after the answer to {name},1, not 100 ms")
        return contact.release(strict=self.generator.strict)

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
