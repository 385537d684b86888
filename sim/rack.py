"""A rack of fake instruments, made from the configuration of the real ones and plugged in at their place.

The fake of the driver ``x`` is ``FAKE`` in ``sim.x``: a class derived from ``sim.fake.Fake``.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import sim
from sim.control import Commander, Control
from sim.fake import Clock, Fake, Keys


class Rack:
    """Fakes of the instruments of a configuration, or of those of them that ``only`` names.

    ``options`` holds, by driver, keyword arguments for the ``of`` of its fake.

    ``plug`` replaces in this process what the fakes share on the wire (a C library, a bus) and makes the serial
    ports; ``close`` takes it all back. Raises ValueError for a driver that has no fake.
    """

    def __init__(
        self,
        instruments: Mapping[str, Keys],
        control_path: str | None = None,
        *,
        only: Collection[str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.control_path = control_path
        self.fakes: dict[str, Fake[Any]] = {}
        for name, keys in instruments.items():
            if only is None or name in only:
                own = (options or {}).get(keys["driver"], {})
                self.fakes[name] = fake_class(keys["driver"]).of(keys, clock, **own)
        self._commander = Commander(self.fakes)
        self._undo = ExitStack()

    def plug(self) -> None:
        """Let all instruments appear. Raises RuntimeError when something real is in their place."""
        with ExitStack() as undo:
            for kind in dict.fromkeys(type(fake) for fake in self.fakes.values()):
                undo.enter_context(kind.wire([fake for fake in self.fakes.values() if type(fake) is kind]))
            if self.control_path is not None:
                undo.callback(Control(self.fakes, self.control_path).close)
            for fake in self.fakes.values():
                undo.callback(fake.unplug)
                fake.plug()
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Let all instruments vanish, and put back what was replaced."""
        self._undo.close()

    def command(self, line: str) -> str:
        """Carry out a line of the control channel: INSTRUMENT COMMAND [args]. Raises CommandError."""
        return self._commander.run(line)

    def __enter__(self) -> Rack:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fake_class(driver: str) -> type[Fake[Any]]:
    """Return the class of a driver's fake. Raises ValueError, which names the drivers that have one."""
    names = [each.name for each in pkgutil.iter_modules(sim.__path__)]
    kind = _fake_class(driver) if driver in names else None
    if kind is None:
        fakes = [name for name in names if _fake_class(name)]
        raise ValueError(f"there is no simulation of {driver}; there is one of {', '.join(fakes)}")
    return kind


def _fake_class(module: str) -> type[Fake[Any]] | None:
    return getattr(import_module(f"sim.{module}"), "FAKE", None)
