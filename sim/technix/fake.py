"""A Technix generator at the far end of a serial line."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar, Self

from sim.control import Control
from sim.events import Scalar
from sim.fake import Clock, Keys
from sim.pty_port import PtyPort
from sim.technix.faults import GeneratorFaults
from sim.technix.generator import Generator
from sim.technix.protocol import Protocol

# Seconds that a character takes on the wire: start, 8 data bits, stop
CHARACTER = 10 / 9600


class TechnixFake(GeneratorFaults):
    """A generator on a pty; with ``baud_pacing`` an exchange takes as long as at 9600 baud."""

    driver = "technix"
    # kV and mA
    deadbands: ClassVar[Mapping[str, float]] = {"VMon": 0.1, "IMon": 0.05}

    def __init__(
        self, port: str, generator: Generator, *, baud_pacing: bool = True, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(generator, clock)
        self.port = port
        self.protocol = Protocol(self, self)
        self.character = CHARACTER if baud_pacing else 0.0
        self._noise_interval = 0.0
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

    def truth(self) -> dict[str, Scalar]:
        """Return the true state in the words of the status word: kV and mA, and whether it hears and can be heard."""
        generator = self.model
        plugged = self._pty is not None
        return {
            "HV": int(generator.on),
            "Mode": int(generator.local),
            "Inhibit": int(generator.inhibited),
            "Interlock": int(generator.interlock_open),
            "Fault": int(generator.fault),
            "OnCmd": int(generator.on_contact.closed),
            "OffCmd": int(generator.off_contact.closed),
            "Regulation": int(generator.regulates_voltage),
            "VSet": generator.set_kv,
            "ISet": generator.set_ma,
            "VMon": generator.kv if generator.producing else 0.0,
            "IMon": generator.ma if generator.producing else 0.0,
            "Strikes": generator.watchdog_strikes,
            "hears": int(plugged and not self.deaf),
            "answers": int(plugged and not self.deaf and not self.muted),
        }

    def plug(self) -> None:
        """Appear at the end of the line."""
        if self._pty is None:
            self._pty = PtyPort(self.port)
            self._make_noise()
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
            if self.misses(command):
                self.events.add("missed", command)
                continue
            self.events.add("heard", command)
            with self.present():
                answer = self.protocol.answer(command)
            self.record(f"{command} -> {answer or 'silence'}")
            if answer is not None:
                self._send(pty, command, answer)
        pty.release()

    def _send(self, pty: PtyPort, command: str, answer: str) -> None:
        """Send the answer as the line and its faults let it through."""
        late = self.lateness()
        pty.wait((len(command) + len(answer) + 2) * self.character + late)
        with self.present():
            self.protocol.answered(command, late=late > 0)
        data = self.spoil(command, answer)
        whole = data == answer.encode() and not pty.closed
        # before it leaves: somebody acts on it at once
        self.events.add("answered" if whole else "spoilt", f"{command}: {answer}")
        if data is not None:
            half = len(data) // 2 if self.split else 0
            if half:
                pty.write(data[:half])
                pty.wait(self.split_pause)
            pty.write(data[half:] + b"\r")

    def _make_noise(self) -> None:
        if self._pty is not None:
            self._pty.make_noise(self.noise if self._noise_interval else None, self._noise_interval)

    def do_rx_noise(self, interval: float) -> None:
        """Send random bytes at this interval in seconds (0: no more); commands arrive all the same."""
        self._noise_interval = interval
        self._make_noise()


def serve(port: str, control_path: str, *, started: Callable[[], None] = lambda: None) -> None:
    """Serve one fake generator, named GEN on the control channel, until SIGINT, SIGTERM or SIGHUP.

    The control channel is there once the line is; then ``started`` is called. Raises RuntimeError when something real
    is at ``port``, or another simulation at ``control_path``; OSError for a path that cannot be.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
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
