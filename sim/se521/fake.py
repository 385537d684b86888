"""A fake Center SE521 on USB: the protocol of its bridge, and its faults."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Self

from sim.fake import SPLIT_PAUSE, Clock, CommandError, Fake, Keys
from sim.se521 import usb_bus
from sim.se521.descriptors import IN, OUT
from sim.se521.thermometer import CHANNELS, Thermometer, identification, temperatures

# A report that comes sooner than this (s) after the one before is not heard
PAUSE = 0.04
# Seconds from the question to the first packet
THINKING = 0.03
# Seconds between packets
PACKET = 0.008
BRIDGE_REPORT = 0x43
COMMAND_REPORT = 0x07


class Bridge:
    """The protocol of the USB bridge: reports in, packets out, each at its time; ``now`` is in seconds.

    One exchange is: announce 7 bytes, send the 7 bytes of a command, ask for the answer's bytes, fetch the packets.
    """

    def __init__(self, fake: ThermometerFake) -> None:
        self.fake = fake
        self.packets: deque[tuple[float, bytes]] = deque()
        self._heard = -math.inf
        self._announced = False
        self._answer = b""
        self._last_answer = b""

    def feature(self, now: float, report: bytes) -> None:
        """Receive feature report 0x43: what the bridge is to do next."""
        if self._too_early(now, report) or len(report) != 8 or report[0] != BRIDGE_REPORT:
            return
        kind, count = report[1], report[2]
        if kind == 1:
            self._announced = count == 7
        elif kind == 4 and count == len(self._answer):
            self._send(now)

    def command(self, now: float, report: bytes) -> None:
        """Receive output report 0x07: STX, command, three zeros, counter, ETX."""
        if self._too_early(now, report) or not self._announced or len(report) != 8:
            return
        self._announced = False
        number, start, name, *zeros, counter, end = report
        if (number, start, zeros, end) == (COMMAND_REPORT, 2, [0, 0, 0], 3):
            self._answer = self._compose(name, counter)

    def _too_early(self, now: float, report: bytes) -> bool:
        pause, self._heard = now - self._heard, now
        if pause >= PAUSE:
            return False
        self.fake.violate(f"report {report.hex(' ')} came {pause * 1000:.0f} ms after the one before, not 40 ms")
        return True

    def _compose(self, name: int, counter: int) -> bytes:
        if name == ord("K"):
            return identification()
        if name == ord("A"):
            return temperatures(self.fake.model, counter)
        return b""

    def _send(self, now: float) -> None:
        """Queue the packets of the answer. What the host does not fetch stays queued."""
        answer, self._answer = self._answer, b""
        if self.fake.stale and len(self._last_answer) == len(answer):
            answer, self.fake.stale = self._last_answer, False
        self._last_answer = answer
        due = now + THINKING + self.fake.lateness()
        if self.fake.muted:
            return
        for index, packet in enumerate(self.fake.spoil(packets(answer))):
            self.packets.append((due + index * (PACKET + SPLIT_PAUSE * self.fake.split), packet))


def packets(answer: bytes) -> list[bytes]:
    """Return an answer in reports of 32 bytes: a count, then as many bytes.

    The bridge does not clear its buffer: behind a short rest the packet before still shows.
    """
    result, buffer = [], bytearray(32)
    for start in range(0, len(answer), 31):
        part = answer[start : start + 31]
        buffer[: 1 + len(part)] = bytes([len(part)]) + part
        result.append(bytes(buffer))
    return result


class ThermometerFake(Fake[Thermometer]):
    """An SE521 that can be put on a ``UsbBus``. With the cable in it is there only while it has power."""

    driver = "se521"

    def __init__(
        self, serial: str, thermometer: Thermometer, clock: Clock = time.monotonic, *, usb_port: str = ""
    ) -> None:
        super().__init__(thermometer, clock)
        self.serial = serial
        self.usb_port = usb_port
        self.denied = False
        self.halted: set[int] = set()
        self.failing = 0
        self.bridge = Bridge(self)
        self.arrived = threading.Condition(self.lock)  # packets queued, or the instrument gone
        self.address = 1  # on the bus; a new one at each plug
        self.powered = True
        self.stale = False
        self.lacks_first = False
        self._cable = False

    @classmethod
    def of(cls, keys: Keys, clock: Clock) -> Self:
        """Make the logger of these keys."""
        port = keys.get("usb_port") or ""
        return cls(str(keys.get("serial") or ""), Thermometer(), clock, usb_port=str(port))

    @classmethod
    def wire(cls, fakes: Sequence[Self]) -> AbstractContextManager[None]:
        """Replace the USB bus of this process by one with these loggers."""
        return usb_bus.replaced(usb_bus.UsbBus(fakes))

    @property
    def there(self) -> bool:
        """Return True while it is on the bus."""
        return self._cable and self.powered

    def plug(self) -> None:
        """Plug the cable in; with power it appears on the bus under a new address."""
        if not self._cable:
            self._cable = True
            self._appear()

    def unplug(self) -> None:
        """Pull the cable out."""
        with self.arrived:
            self._cable = False
            self.arrived.notify_all()

    def _appear(self) -> None:
        self.address += 1
        self.bridge = Bridge(self)

    def receive(self, report_type: str, report: bytes) -> None:
        """Receive a report from the host; ``report_type`` is "feature" or "output"."""
        with self.arrived, self.present():
            self.record(f"{report_type} {report.hex(' ')}")
            (self.bridge.feature if report_type == "feature" else self.bridge.command)(self.clock(), report)
            self.arrived.notify_all()

    def next_packet(self, address: int, seconds: float) -> bytes | None:
        """Return the next packet; None when there is none in ``seconds``. Raises ConnectionError when it is gone."""
        end = self.clock() + seconds
        with self.arrived:
            while self.there and self.address == address:
                now = self.clock()
                due = self.bridge.packets[0][0] if self.bridge.packets else math.inf
                if due <= now:
                    packet = self.bridge.packets.popleft()[1]
                    self.record(f"packet {packet.hex(' ')}")
                    return packet
                if now >= end:
                    return None
                self.arrived.wait(min(due, end) - now)
        raise ConnectionError

    def spoil(self, answer: list[bytes]) -> list[bytes]:
        """Return the packets of an answer with the faults that were asked for."""
        if self.garbled():
            return [self.random.randbytes(32) for _ in answer]
        if self.lacks_first:
            self.lacks_first = False
            return answer[1:]
        return answer

    def do_stale(self) -> None:
        """Send the last answer once more as the next one, counter included."""
        self.stale = True

    def do_stall(self, endpoint: str) -> None:
        """Let the endpoint "in" or "out" stall until its halt is cleared, or the next "control" transfer."""
        endpoints = {"in": IN, "out": OUT, "control": 0}
        if endpoint not in endpoints:
            raise CommandError("usage: stall in|out|control")
        self.halted.add(endpoints[endpoint])

    def do_io_error(self, n: int = 1) -> None:
        """Let the next n transfers end with an I/O error."""
        self.failing = n

    def do_deny(self, on: int = 1) -> None:
        """Give nobody the permission to open it (0: to everybody)."""
        self.denied = bool(on)

    def do_open(self, n: int) -> None:
        """Pull thermocouple n (1 to 4) out."""
        self._connect(n, is_open=True)

    def do_close(self, n: int) -> None:
        """Connect thermocouple n (1 to 4)."""
        self._connect(n, is_open=False)

    def _connect(self, n: int, *, is_open: bool) -> None:
        if not 1 <= n <= CHANNELS:
            raise CommandError(f"there is no thermocouple {n}; they are 1 to {CHANNELS}")
        with self.present() as thermometer:
            thermometer.open[n - 1] = is_open

    def do_power_loss(self) -> None:
        """Take USB power away for long: the instrument is off until its button is pressed."""
        with self.arrived:
            self.powered = False
            self.arrived.notify_all()

    def do_button(self) -> None:
        """Press the power button: on."""
        if not self.powered:
            self.powered = True
            self._appear()

    def do_half(self) -> None:
        """Leave out the first packet of the next answer."""
        self.lacks_first = True
