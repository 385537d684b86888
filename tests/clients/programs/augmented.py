"""Values of ``aioca`` and of ``cothread.catools``, which are alike."""

from __future__ import annotations

from typing import Any

from tests.clients.programs import lines


def told(value: Any) -> dict[str, Any]:
    """Return a value got with FORMAT_CTRL; a state as its word."""
    words = getattr(value, "enums", ())
    return lines.told(
        words[value] if words else value,
        value.severity,
        units=getattr(value, "units", ""),
        lower=getattr(value, "lower_ctrl_limit", None),
        upper=getattr(value, "upper_ctrl_limit", None),
        words=words,
    )


def monitor(ca: Any, names: tuple[str, ...]) -> None:
    """Subscribe with one of the two libraries; states and long texts come as texts."""
    for name in names:
        datatype = ca.DBR_CHAR_STR if name.endswith("$") else ca.DBR_ENUM_STR
        ca.camonitor(name, _take, format=ca.FORMAT_TIME, datatype=datatype)


def _take(value: Any) -> None:
    lines.update(value.name, value, value.severity)
