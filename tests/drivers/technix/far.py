"""A generator at the far end of a real pty, written from the manual, with faults that begin at a chosen command.

It answers one command after the other. A pair has its effect when the second half comes at least 100 ms after the
answer to the first: else it has none, and the contact is released all the same.
"""

from __future__ import annotations

import math
import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Seconds that a pair asks for; a little less, for the clocks of two threads
PAUSE = 0.099


class Far:
    """The generator; ``link`` is the name of its line.

    heard     what arrived: monotonic seconds, command
    faults    mute deaf noise garbage: True; late split: seconds; "late P6", "mute a1", "garbage a1": of this command
              alone; lost: answers still to be lost
    fading    seconds in which an output that is switched off goes down to a third; 0: at once
    violated  what the manual forbids
    """

    def __init__(self, link: Path, watchdog: float = 5.0) -> None:
        self.link = link
        self.heard: list[tuple[float, str]] = []
        self.violated: list[str] = []
        self.faults: dict[str, float] = {}
        self.watchdog = watchdog
        self.on = self.local = self.inhibited = self.fault = self.interlock_open = False
        self.strikes = 0
        self.slow = False  # from a fault on that makes it slow, a second half may overtake the answer to the first
        self.held: dict[str, float | None] = {"P5": None, "P6": None}
        self.set = {"d1": 0, "d2": 0}
        self.regulates = "d1"
        self.megohm = 8.0
        self.fading = 0.0
        self._charge = 0.0, time.monotonic()  # the voltage when it was asked for last
        self._at: dict[int, Callable[[], None]] = {}
        self._fed = time.monotonic()
        self._random = random.Random(1)
        self._far = self._near = -1
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.plug()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._serve, self._make_noise)]
        for thread in self._threads:
            thread.start()

    # ---- what a test does ----

    def plug(self) -> None:
        """Put the line there."""
        with self._lock:
            self._far, self._near = pty.openpty()
            tty.setraw(self._far)
            tty.setraw(self._near)
            os.set_blocking(self._far, False)
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(os.ttyname(self._near))

    def unplug(self) -> None:
        """Take the line away: who has it open gets EIO."""
        with self._lock:
            for fd in (self._far, self._near):
                if fd >= 0:
                    os.close(fd)
            self._far = self._near = -1
            self.link.unlink(missing_ok=True)

    def carry_out_for_another(self, command: str) -> None:
        """Carry out what a second program has sent over the same line, on which all hear all answers."""
        self._write(f"{self._carry_out(command)}\r".encode())

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.unplug()

    def at_command(self, number: int, begin: Callable[[], None]) -> None:
        """Call ``begin`` when the command comes that is ``number``-th from now, before it is carried out."""
        self._at[len(self.heard) + number] = begin

    def commands(self, since: int = 0) -> list[str]:
        """Return what was heard from the ``since``-th on, without the questions."""
        return [command for _, command in self.heard[since:] if command not in {"E", "a1", "a2"}]

    # ---- the generator ----

    @property
    def status(self) -> int:
        bits = (
            self.inhibited,
            self.local,
            self.held["P6"],
            self.held["P5"],
            self.on,
            self.interlock_open,
            self.fault,
        )
        byte = "".join("0" if bit is None or bit is False else "1" for bit in bits)
        return int(byte + str(int(self.regulates == "d1")), 2)

    def output(self) -> tuple[float, float]:
        """Return kV and mA."""
        kilovolts, milliamperes = self._driven()
        now, (before, at) = time.monotonic(), self._charge
        if self.fading:
            kilovolts = max(kilovolts, before * math.exp((at - now) / self.fading))
        self._charge = kilovolts, now
        return kilovolts, milliamperes

    def _driven(self) -> tuple[float, float]:
        """Return what it gives out by itself, kV and mA."""
        if not self.on or self.inhibited:
            return 0.0, 0.0
        kilovolts = (
            self.set["d1"] / 4095 * 100 if self.regulates == "d1" else self.set["d2"] / 4095 * 50 * self.megohm
        )
        kilovolts = min(100.0, kilovolts)
        return kilovolts, kilovolts / self.megohm

    def open_interlock(self) -> None:
        self.interlock_open = self.fault = True
        self.on = False

    def _step(self) -> None:
        if time.monotonic() - self._fed > self.watchdog and not self.local:
            self.on, self.local = False, True
            self.strikes += 1

    def _carry_out(self, command: str) -> str | None:
        name, _, number = command.partition(",")
        match name:
            case "E":
                return f"E{self.status}"
            case "a1" | "a2":
                kilovolts, milliamperes = self.output()
                return command + str(round((kilovolts / 100 if name == "a1" else milliamperes / 50) * 4095))
            case "d1" | "d2":
                self.set[name], self.regulates = int(number), name
            case "P5" | "P6" if number == "1":
                self.held[name] = float("inf")  # until the answer has left
            case "P5" | "P6":
                held, self.held[name] = self.held[name], None
                waited = time.monotonic() - held if held is not None else None
                if waited is not None and waited >= PAUSE:
                    self.on = name == "P5" and (self.on or not (self.local or self.fault))
                elif waited is not None and not self.slow:
                    self.violated.append(f"{command} {1000 * waited:.0f} ms after the answer to {name},1")
            case "P7":
                self.on, self.local = self.on and number == "0", number == "1"
            case "P8":
                self.inhibited = number == "1"
            case _:
                self.violated.append(f"unknown command {command!r}")
                return None
        return command

    # ---- the line ----

    def _serve(self) -> None:
        line = b""
        while not self._stop.is_set():
            self._step()
            data = self._read()
            line = line + data if data is not None else b""
            while b"\r" in line:
                command, _, line = line.partition(b"\r")
                self._handle(command.decode("latin-1"))

    def _read(self) -> bytes | None:
        """Return the next byte, nothing, or None while there is no line."""
        far = self._far
        if far < 0:
            self._stop.wait(0.002)
            return None
        with suppress(OSError, ValueError):
            if select.select([far], [], [], 0.005)[0]:
                return os.read(far, 1)
        return b""

    def _handle(self, command: str) -> None:
        self._at.pop(len(self.heard), lambda: None)()
        late = self.faults.get("late", self.faults.get(f"late {command[:2]}", 0.0))
        self.slow = self.slow or late > 0 or "split" in self.faults
        self.heard.append((time.monotonic(), command))
        if "deaf" in self.faults or self._far < 0:
            return
        self._step()
        self._fed = time.monotonic()
        answer = self._carry_out(command)
        self._stop.wait(late)
        if answer is not None:
            self._answer(answer)
        for name, moment in self.held.items():
            if moment == float("inf"):
                self.held[name] = time.monotonic()

    def _answer(self, text: str) -> None:
        if self.faults.keys() & {"mute", f"mute {text[:2]}"}:
            return
        if self.faults.get("lost", 0) >= 1:
            self.faults["lost"] -= 1
            return
        data = text.encode()
        if self.faults.keys() & {"garbage", f"garbage {text[:2]}"}:
            data = self._random.randbytes(len(text)).replace(b"\r", b"?")
        middle = len(data) // 2
        self._write(data[:middle])
        self._stop.wait(self.faults.get("split", 0.0))
        self._write(data[middle:] + b"\r")

    def _write(self, data: bytes) -> None:
        with self._lock, suppress(OSError):
            if self._far >= 0:
                os.write(self._far, data)

    def _make_noise(self) -> None:
        while not self._stop.wait(0.005):
            if "noise" in self.faults:
                self._write(self._random.randbytes(1))
