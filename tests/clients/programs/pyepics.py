"""The program of pyepics."""

from __future__ import annotations

from functools import cache
from typing import Any

import epics

from tests.clients.programs import lines

# Better read as texts: states, and long texts
TEXTS = {epics.dbr.CTRL_ENUM, epics.dbr.CTRL_CHAR}


@cache
def pv(name: str) -> epics.PV:
    """Return a connected PV."""
    channel = epics.PV(name, form="ctrl", auto_monitor=False)
    assert channel.wait_for_connection(10)
    return channel


class Pyepics:
    """PVs with their control variables."""

    def __init__(self) -> None:
        self._monitored: list[epics.PV] = []

    def get(self, name: str) -> dict[str, Any]:
        channel = pv(name)
        got = channel.get_with_metadata(form="ctrl", as_string=channel.ftype in TEXTS, timeout=5)
        limits = {"lower": got.get("lower_ctrl_limit"), "upper": got.get("upper_ctrl_limit")}
        return lines.told(
            got["value"], got["severity"], units=got.get("units", ""), words=got.get("enum_strs", ()), **limits
        )

    def put(self, name: str, value: Any) -> None:
        """With completion: what ``put`` returns says nothing of how it ended."""
        pv(name).put(value, wait=True, timeout=10)

    def monitor(self, *names: str) -> None:
        self._monitored += [epics.PV(name, form="ctrl", auto_monitor=True, callback=take) for name in names]


def take(pvname: str, value: Any, char_value: str, severity: int, ftype: int, **_: Any) -> None:
    """Hand on an update."""
    lines.update(pvname, char_value if ftype in TEXTS else value, severity)


if __name__ == "__main__":
    lines.listen(Pyepics())
