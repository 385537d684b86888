"""What can go wrong with a generator and its line, asked for over the control channel."""

from __future__ import annotations

import math
import time
from collections import Counter

from sim.fake import Clock, CommandError, Fake
from sim.technix.generator import Generator
from sim.technix.protocol import QUESTIONS

# Bytes of one burst of noise
BURST = 6
_NOT_A_RETURN = bytes(each for each in range(256) if each != 13)


class GeneratorFaults(Fake[Generator]):
    """A generator with the faults of its line; the line itself is the part of a subclass."""

    def __init__(self, generator: Generator, clock: Clock = time.monotonic) -> None:
        super().__init__(generator, clock)
        self.deaf = False
        self._half_dropped = False
        self._until_missed = self._until_lost = math.inf  # commands to come, the one concerned included
        self._wrong_echoes = self._gaps = 0
        self._spares_next = False
        self._ignored: Counter[str] = Counter()

    # ---- on the way of a command and its answer ----

    def misses(self, command: str) -> bool:
        """Return True when this command does not arrive, and count it."""
        if self.deaf:
            return True
        self._until_missed -= 1
        if self._until_missed == 0:
            self._until_missed = math.inf
            return True
        if self._half_dropped and command in ("P5,0", "P6,0"):
            self._half_dropped = False
            return True
        return False

    def ignored(self, command: str) -> bool:
        """Return True when this command is to have no effect, and count it."""
        ignored = self._ignored[command] > 0
        self._ignored[command] -= ignored
        return ignored

    def spoil(self, command: str, answer: str) -> bytes | None:
        """Return the bytes that leave instead of an answer, without the end of the line; None: none do."""
        self._until_lost -= 1
        if self._until_lost == 0:
            self._until_lost = math.inf
            return None
        if self.muted:
            return None
        data = answer.encode()
        if self.garbled():
            return bytes(self.random.choices(_NOT_A_RETURN, k=len(data)))
        if self._wrong_echoes:
            self._wrong_echoes -= 1
            return _another(command, answer).encode()
        self._spares_next = self._gaps > 0 and not self._spares_next
        if self._spares_next:
            self._gaps -= 1
            gap = self.random.randrange(len(data))
            return data[:gap] + data[gap + 1 :]
        return data

    def noise(self) -> bytes:
        """Return a burst of random bytes."""
        return self.random.randbytes(BURST)

    # ---- of the line ----

    def do_deaf(self, on: int = 1) -> None:
        """Let no command arrive (0: let them arrive again)."""
        self.deaf = bool(on)

    def do_miss(self, n: int = 1) -> None:
        """Let the nth command from now on not arrive."""
        self._until_missed = n

    def do_lose(self, n: int = 1) -> None:
        """Lose the answer to the nth command from now on, which is heard and acts."""
        self._until_lost = n

    def do_wrong_echo(self, n: int = 1) -> None:
        """Answer the next n commands as if they had been another."""
        self._wrong_echoes = n

    def do_drop_byte(self, n: int = 1) -> None:
        """Leave out a byte of n answers, of every second one.

        Two in a row could lack the same one, which nobody can find out on a line without checksums.
        """
        self._gaps = n

    def do_drop_half(self, on: int = 1) -> None:
        """Lose the second half of the next HV on or HV off pair (0: do not)."""
        self._half_dropped = bool(on)

    def do_cut(self, seconds: float = 0.1) -> None:
        """Pull the cable out and put it back after a time."""
        self.unplug()
        time.sleep(seconds)
        self.plug()

    # ---- of the generator ----

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

    def do_panel_on(self) -> None:
        """Press HV on on the front panel: acts in local mode."""
        with self.present() as generator:
            generator.press_on_button()

    def do_local(self) -> None:
        """Switch to local mode at the front panel."""
        with self.present() as generator:
            generator.go_local(True)

    def do_strike(self) -> None:
        """Let the watchdog strike now."""
        with self.present() as generator:
            generator.strike()

    def do_ignore(self, command: str, times: int = 1) -> None:
        """Answer a command (d1, d2, P5,0, P6,0, P7,0 ... P8,1) that often without acting."""
        self._ignored[command] = times

    def do_pairs(self, mode: str) -> None:
        """Let a pair act only with the pause of the manual (strict), or with any (lenient)."""
        if mode not in ("strict", "lenient"):
            raise CommandError("usage: pairs strict|lenient")
        self.model.strict = mode == "strict"


def _another(command: str, answer: str) -> str:
    """Return the answer of another command than this one."""
    if command in QUESTIONS:
        return QUESTIONS[(QUESTIONS.index(command) + 1) % len(QUESTIONS)] + answer[len(command) :]
    name, _, number = command.partition(",")
    if name.startswith("d"):
        return f"{name},{int(number) ^ 1}"
    return f"P{5 + (int(name[1]) - 4) % 4},{number}"
