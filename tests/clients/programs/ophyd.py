"""The program of ophyd, with its default control layer (pyepics)."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO

from tests.clients.programs import lines


@cache
def signal(name: str) -> EpicsSignal:
    """Return a connected signal that has its first value.

    Behind the connection ophyd reads the alarm in a thread of its own, with one element; pyepics keeps one answer for
    each type, so that a value of the same type that is asked for meanwhile may be that one element.
    """
    made = EpicsSignal(name, name="signal", put_complete=True, string=is_text(name))
    made.wait_for_connection(timeout=10)
    first = threading.Event()
    number = made.subscribe(lambda **_: first.set())
    assert first.wait(10), f"{name} has no first value"
    made.unsubscribe(number)
    return made


class Ophyd:
    """Signals whose put waits for completion."""

    def __init__(self) -> None:
        self._monitored: list[EpicsSignalRO] = []

    def get(self, name: str) -> dict[str, Any]:
        value = signal(name).get()
        described = signal(name).describe()["signal"]
        return lines.told(
            value,
            signal(name).alarm_severity,
            units=described["units"] or "",
            lower=described["lower_ctrl_limit"],
            upper=described["upper_ctrl_limit"],
            words=described.get("enum_strs", ()),
        )

    def put(self, name: str, value: Any) -> None:
        """``set`` gives a status, which succeeds however the put ended."""
        signal(name).set(value).wait(10)

    def monitor(self, *names: str) -> None:
        for name in names:
            made = EpicsSignalRO(name, name=name, auto_monitor=True, string=is_text(name))
            made.subscribe(take)
            self._monitored.append(made)


def is_text(name: str) -> bool:
    """Return whether a PV is better read as a text; ophyd wants to be told."""
    return name.endswith(("$", ":Pw"))


def take(value: Any, obj: EpicsSignalRO, **_: Any) -> None:
    """Hand on an update."""
    lines.update(obj.pvname, value, obj.alarm_severity)


if __name__ == "__main__":
    lines.listen(Ophyd())
