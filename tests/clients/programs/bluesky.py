"""The program of bluesky, with devices of ophyd."""

from __future__ import annotations

from typing import Any

from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from ophyd import EpicsSignal, EpicsSignalRO

from tests.clients.programs import lines


class Bluesky:
    """A run engine, and plans on a setpoint with its readback."""

    def __init__(self) -> None:
        self._engine = RunEngine({})

    def count(self, name: str, number: int) -> list[Any]:
        """Return the values of an input in the events of a count, after its exit status."""
        detector = EpicsSignalRO(name, name="detector")
        detector.wait_for_connection(timeout=10)
        return self._run(bp.count([detector], number), "detector")

    def scan(self, setpoint: str, start: float, stop: float, number: int) -> list[Any]:
        """Return the readbacks in the events of a scan of a setpoint, after its exit status."""
        return self._run(bp.scan([], motor(setpoint, put_complete=True), start, stop, number), "motor")

    def move(self, setpoint: str, value: float, options: dict[str, Any]) -> None:
        """Move with a signal with these options."""
        self._engine(bps.mv(motor(setpoint, **options), value))

    def _run(self, plan: Any, name: str) -> list[Any]:
        told: list[Any] = []

        def take(kind: str, document: dict[str, Any]) -> None:
            if kind == "event":
                told.append(lines.plain(document["data"][name]))
            elif kind == "stop":
                told.insert(0, document["exit_status"])

        self._engine(plan, take)
        return told


def motor(setpoint: str, **options: Any) -> EpicsSignal:
    """Return a signal that reads the readback and writes the setpoint."""
    made = EpicsSignal(f"{setpoint}_RBV", setpoint, name="motor", **options)
    made.wait_for_connection(timeout=10)
    return made


if __name__ == "__main__":
    lines.listen(Bluesky())
