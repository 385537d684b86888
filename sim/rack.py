"""A rack of fake instruments, made from the configuration of the real ones and plugged in at their place."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any

import usb.backend.libusb1

from sim.caen import Crate
from sim.caen_abi import LIBRARY, NAME
from sim.caen_boards import demo_crate
from sim.caen_fake import CrateFake
from sim.control import Commander, Control
from sim.fake import Clock, Fake
from sim.se521 import Thermometer, ThermometerFake
from sim.technix import Generator, TechnixFake
from sim.usb_bus import UsbBus

Keys = Mapping[str, Any]


class Rack:
    """Fakes of the instruments of a configuration, or of those of them that ``only`` names.

    ``crate`` makes what a CAEN crate has from its system type.

    ``plug`` replaces, in this process, the C library of the CAEN crates and the USB bus, and makes the serial ports;
    ``close`` takes it all back.
    """

    def __init__(
        self,
        instruments: Mapping[str, Keys],
        control_path: str | None = None,
        *,
        only: Collection[str] | None = None,
        crate: Callable[[str], Crate] = demo_crate,
        clock: Clock = time.monotonic,
    ) -> None:
        self.instruments = {name: keys for name, keys in instruments.items() if only is None or name in only}
        self.control_path = control_path
        self.fakes: dict[str, Fake[Any]] = {
            name: _make(keys, crate, clock) for name, keys in self.instruments.items()
        }
        self._commander = Commander(self.fakes)
        self._undo = ExitStack()

    def plug(self) -> None:
        """All instruments appear."""
        with ExitStack() as undo:
            self._plug_library(undo)
            self._plug_usb(undo)
            if self.control_path is not None:
                undo.callback(Control(self.fakes, self.control_path).close)
            for fake in self.fakes.values():
                undo.callback(fake.unplug)
                fake.plug()
            self._undo = undo.pop_all()

    def close(self) -> None:
        """All instruments vanish, and what was replaced comes back."""
        self._undo.close()

    def command(self, line: str) -> str:
        """Carry out a line of the control channel: INSTRUMENT COMMAND [args]."""
        return self._commander.run(line)

    def __enter__(self) -> Rack:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plug_library(self, undo: ExitStack) -> None:
        crates = {
            str(self.instruments[name]["host"]): fake
            for name, fake in self.fakes.items()
            if isinstance(fake, CrateFake)
        }
        if not crates:
            return
        _check_binding()
        LIBRARY.crates |= crates
        for host in crates:
            undo.callback(LIBRARY.crates.pop, host)
        load = ctypes.cdll.LoadLibrary
        _replace(undo, ctypes.cdll, "LoadLibrary", lambda name: LIBRARY if name == NAME else load(name))

    def _plug_usb(self, undo: ExitStack) -> None:
        loggers = [fake for fake in self.fakes.values() if isinstance(fake, ThermometerFake)]
        if not loggers:
            return
        bus = UsbBus(loggers)
        _forget_libusb()
        undo.callback(_forget_libusb)
        _replace(undo, usb.backend.libusb1, "get_backend", lambda find_library=None: bus)


def _make(keys: Keys, crate: Callable[[str], Crate], clock: Clock) -> Fake[Any]:
    """The fake for one instrument's keys."""
    makers: dict[str, Callable[[Keys, Clock], Fake[Any]]] = {
        "caen": lambda keys, clock: _make_caen(keys, crate, clock),
        "se521": _make_se521,
        "technix": _make_technix,
    }
    driver = keys["driver"]
    if driver not in makers:
        raise ValueError(f"there is no simulation of {driver}; there is one of {', '.join(makers)}")
    return makers[driver](keys, clock)


def _make_caen(keys: Keys, crate: Callable[[str], Crate], clock: Clock) -> CrateFake:
    return CrateFake(
        crate(keys.get("system", "SY4527")),
        link=keys.get("link", "TCPIP"),
        username=keys.get("username"),
        password=keys.get("password"),
        clock=clock,
    )


def _make_se521(keys: Keys, clock: Clock) -> ThermometerFake:
    return ThermometerFake(str(keys.get("serial") or ""), Thermometer(), clock)


def _make_technix(keys: Keys, clock: Clock) -> TechnixFake:
    scale = keys.get("full_scale", {})
    generator = Generator(
        full_kv=float(scale.get("voltage_kv", 100)), full_ma=float(scale.get("current_ma", 50)), noise=0.5
    )
    return TechnixFake(str(keys["port"]), generator, clock=clock)


def _check_binding() -> None:
    """A binding that was imported over the real library keeps it for the life of the process."""
    binding = sys.modules.get("caen_libs.caenhvwrapper")
    if binding is not None and binding.lib.get("CAENHVLibSwRel") is not LIBRARY["CAENHVLibSwRel"]:
        raise RuntimeError("caen_libs runs on the real CAEN library in this process: start the simulation first")


def _forget_libusb() -> None:
    """libusb_package remembers the backend that it found first."""
    package = sys.modules.get("libusb_package")
    if package is not None:
        package.get_libusb1_backend.cache_clear()


def _replace(undo: ExitStack, owner: Any, name: str, value: Any) -> None:
    undo.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)
