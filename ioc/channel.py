"""A view as a caproto channel, for names with a filter (``PV{"dbnd":{"d":5}}``, ``PV[0:3]``), which caproto applies.

This file and ``server.py`` are the only ones that import caproto. Private parts of caproto 1.3 used here:
``ChannelData._data``, ``_alarm._data``, ``_content``, ``_queues``, ``_read``, ``_is_eligible`` and
``_data.SubscriptionUpdate``/``_channel_type_by_name``; tests/ioc/test_filters.py holds each.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import caproto as ca
from caproto import AccessRights, ChannelType, TimeStamp
from caproto._data import SubscriptionUpdate, _channel_type_by_name
from caproto._utils import ConversionDirection

from drivers.base import Refused
from ioc import dbr
from ioc.fieldvalue import LONG_STRING_SIZE
from ioc.view import View

_LIMITS = (
    "upper_disp_limit",
    "lower_disp_limit",
    "upper_alarm_limit",
    "upper_warning_limit",
    "lower_warning_limit",
    "lower_alarm_limit",
    "upper_ctrl_limit",
    "lower_ctrl_limit",
)
_PLAIN = {ChannelType(number) for number in range(7)}


class _Shown(ca.ChannelData):  # type: ignore[misc]
    """What the channels of all types share; joined with caproto's class for the type."""

    view: View

    def post(self, mask: int) -> None:
        """Hand the view's value to the subscriptions whose mask asks for it, once for each DBR type."""
        self._content.clear()
        for queue, by_sync in self._queues.items():
            for by_type in by_sync.values():
                for type_name, specs in by_type.items():
                    wanted = tuple(spec for spec in specs if spec.mask & mask and self._is_eligible(spec))
                    if wanted:
                        metadata, values = _now(self._read(_channel_type_by_name[type_name]))
                        queue.put_nowait(SubscriptionUpdate(wanted, metadata, values, mask, None))

    async def subscribe(self, queue: Any, sub_spec: Any, sub: Any) -> None:
        """Not what caproto keeps, which it converted for an earlier subscriber."""
        self._content.clear()
        await super().subscribe(queue, sub_spec, sub)

    async def _read(self, data_type: Any) -> Any:
        view = self.view
        values = view.values()
        status, severity, *_ = view.alarm()
        self._data["value"] = values[0] if view.count == 1 else list(values)
        self._data["timestamp"] = TimeStamp(*dbr.stamp(view.stamp()))
        self._data.update(self._properties())
        self._alarm._data.update(status=int(status), severity=int(severity))
        return await super()._read(data_type)

    def _properties(self) -> dict[str, Any]:
        properties = self.view.properties()
        return {
            "units": properties.units[: dbr.UNIT_SIZE - 1],
            "precision": properties.precision,
            **dict(zip(_LIMITS, properties.limits, strict=True)),
        }

    def check_access(self, hostname: str, username: str) -> AccessRights:
        """The right to write is announced, so that screens show what can be set."""
        return AccessRights.READ | AccessRights.WRITE if self.view.writable else AccessRights.READ

    async def write_from_dbr(self, data: Any, data_type: Any, metadata: Any, *, flags: int = 0) -> None:
        """A client's put, in whatever type it came: the record and the instrument decide, nothing is stored here."""
        native = ca.native_type(data_type)
        if native not in _PLAIN:
            raise Refused(f"{self.view.record.name}: alarms are acknowledged without a filter")
        if native in {ChannelType.STRING, ChannelType.CHAR}:
            data = ca.backend.convert_values(
                data, native, native, string_encoding="latin-1", direction=ConversionDirection.FROM_WIRE
            )
        waiting = self.view.put(_values(data))
        if waiting is not None:
            await waiting


class _Double(_Shown, ca.ChannelDouble):  # type: ignore[misc]
    pass


class _Float(_Shown, ca.ChannelFloat):  # type: ignore[misc]
    pass


class _Whole(_Shown):
    def _properties(self) -> dict[str, Any]:
        properties = super()._properties()
        del properties["precision"]
        return properties | {
            name: dbr.to_long(properties[name] if properties[name] == properties[name] else 0) for name in _LIMITS
        }


class _Long(_Whole, ca.ChannelInteger):  # type: ignore[misc]
    pass


class _Short(_Whole, ca.ChannelShort):  # type: ignore[misc]
    pass


class _Byte(_Whole, ca.ChannelByte):  # type: ignore[misc]
    pass


class _Enum(_Shown, ca.ChannelEnum):  # type: ignore[misc]
    def _properties(self) -> dict[str, Any]:
        return {"enum_strings": self.view.properties().states[: ca.MAX_ENUM_STATES]}


class _Text(_Shown, ca.ChannelString):  # type: ignore[misc]
    """``$`` gives the whole text, the plain name its first 39 characters."""

    def _properties(self) -> dict[str, Any]:
        return {}


_KINDS = {
    dbr.DOUBLE: _Double,
    dbr.FLOAT: _Float,
    dbr.LONG: _Long,
    dbr.SHORT: _Short,
    dbr.CHAR: _Byte,
    dbr.ENUM: _Enum,
    dbr.STRING: _Text,
}
_BLANKS = {dbr.STRING: ""}


def channel_of(view: View) -> ca.ChannelData:
    """The channel that shows a view."""
    options: dict[str, Any] = {"long_string_max_length": LONG_STRING_SIZE} if view.native == dbr.STRING else {}
    blank = _BLANKS.get(view.native, 0)
    channel = _KINDS[view.native](
        value=blank if view.count == 1 else [blank] * view.count,
        reported_record_type=view.record_type(),
        max_length=view.count,
        **options,
    )
    channel.view = view
    return channel


def _now(reading: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        reading.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a conversion waited for something")


def _values(data: Any) -> tuple[Any, ...]:
    values = [data] if isinstance(data, bytes | str) else data
    return tuple(
        value.decode("latin-1") if isinstance(value, bytes) else value.item() if hasattr(value, "item") else value
        for value in values
    )
