"""A record seen as a caproto channel. This file and ``server.py`` are the only ones that import caproto.

The record is the only place where a value lives: a channel copies it into caproto's structures when somebody asks.
Private parts of caproto 1.3 used here: ``ChannelData._data``, ``_alarm._data``, ``_content``, ``_queues``, ``_read``,
``_is_eligible`` and ``_data.SubscriptionUpdate``/``_channel_type_by_name``; tests/ioc/test_server.py holds each.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import caproto as ca
from caproto import AccessRights, ChannelType, TimeStamp
from caproto._data import SubscriptionUpdate, _channel_type_by_name
from caproto._utils import ConversionDirection

from drivers.base import Point, RecordType, Refused, Status, Value
from ioc.fields import FIELDS, MENU_SEVERITY, Field, Kind
from ioc.record import STRING_SIZE, Record

EPICS_EPOCH = 631152000
UNIT_SIZE = 7  # what Channel Access carries of a unit
LONG_STRING_SIZE = 1 << 20

# What a client can put; the others acknowledge alarms, and must never be taken for a value
_PUT_TYPES = {
    ChannelType.STRING,
    ChannelType.INT,
    ChannelType.FLOAT,
    ChannelType.ENUM,
    ChannelType.CHAR,
    ChannelType.LONG,
    ChannelType.DOUBLE,
}

Put = Callable[[Record, Value], Awaitable[None]]


class _FreshChannel(ca.ChannelData):  # type: ignore[misc]
    """A channel whose value lives elsewhere: each request and each new subscriber gets the one of now."""

    async def subscribe(self, queue: Any, sub_spec: Any, sub: Any) -> None:
        """Not what caproto keeps, which it converted for an earlier subscriber."""
        self._content.clear()
        await super().subscribe(queue, sub_spec, sub)

    async def _read(self, data_type: Any) -> Any:
        self._pull()
        return await super()._read(data_type)

    def _pull(self) -> None:
        raise NotImplementedError


class _RecordChannel(_FreshChannel):
    """What all kinds of records' channels share; joined with caproto's class for the native type."""

    record: Record
    put: Put

    def post(self, mask: int) -> None:
        """Hand the record's value to the subscriptions whose mask asks for it, once for each DBR type."""
        self._content.clear()
        for queue, by_sync in self._queues.items():
            for by_type in by_sync.values():
                for type_name, specs in by_type.items():
                    wanted = tuple(spec for spec in specs if spec.mask & mask and self._is_eligible(spec))
                    if wanted:
                        metadata, values = _now(self._read(_channel_type_by_name[type_name]))
                        queue.put_nowait(SubscriptionUpdate(wanted, metadata, values, mask, None))

    def _pull(self) -> None:
        record = self.record
        self._data["value"] = record.val
        self._data["timestamp"] = _stamp(record.time)
        self._data.update(self._properties(record.point))
        self._alarm._data.update(status=int(record.stat), severity=int(record.sevr))

    def _properties(self, point: Point) -> dict[str, Any]:
        return {}

    def check_access(self, hostname: str, username: str) -> AccessRights:
        """Clients may write to outputs; the right is announced, so that screens show what can be set."""
        if self.record.point.rtyp.writable:
            return AccessRights.READ | AccessRights.WRITE
        return AccessRights.READ

    async def write_from_dbr(self, data: Any, data_type: Any, metadata: Any, *, flags: int = 0) -> None:
        """A client's put, in whatever type it came: the record and the instrument decide, nothing is stored here."""
        native = ca.native_type(data_type)
        if native not in _PUT_TYPES:
            raise Refused(f"{self.record.name}: alarms are not acknowledged here")
        if native in {ChannelType.STRING, ChannelType.CHAR}:
            encoding, direction = "latin-1", ConversionDirection.FROM_WIRE
            data = ca.backend.convert_values(data, native, native, string_encoding=encoding, direction=direction)
        await self.put(self.record, _scalar(data, self.record.name))

    def get_field(self, name: str) -> ca.ChannelData:
        """The channel of ``record.FIELD``; KeyError when the record has no such field."""
        return self if name == "VAL" else field_channel(self.record, name)


class _Numeric(_RecordChannel):
    def _properties(self, point: Point) -> dict[str, Any]:
        unset = math.nan if self.data_type is ChannelType.DOUBLE else 0
        limits = {
            "upper_disp_limit": _or(point.hopr, 0),
            "lower_disp_limit": _or(point.lopr, 0),
            "upper_ctrl_limit": _or(point.drvh, _or(point.hopr, 0)),
            "lower_ctrl_limit": _or(point.drvl, _or(point.lopr, 0)),
            "upper_alarm_limit": _or(point.hihi, unset),
            "upper_warning_limit": _or(point.high, unset),
            "lower_warning_limit": _or(point.low, unset),
            "lower_alarm_limit": _or(point.lolo, unset),
        }
        return {"units": point.egu[:UNIT_SIZE], "precision": point.prec, **limits}


class DoubleChannel(_Numeric, ca.ChannelDouble):  # type: ignore[misc]
    """ai, ao."""


class LongChannel(_Numeric, ca.ChannelInteger):  # type: ignore[misc]
    """longin, longout."""

    def _properties(self, point: Point) -> dict[str, Any]:
        return {key: value if key == "units" else int(value) for key, value in super()._properties(point).items()}


class EnumChannel(_RecordChannel, ca.ChannelEnum):  # type: ignore[misc]
    """bi, bo, mbbi, mbbo."""

    def _properties(self, point: Point) -> dict[str, Any]:
        return {"enum_strings": point.states[: ca.MAX_ENUM_STATES]}


class StringChannel(_RecordChannel, ca.ChannelString):  # type: ignore[misc]
    """stringin, stringout, lsi; ``PV.VAL$`` gives a text of any length, the plain name its first 39 characters."""

    async def _read(self, data_type: Any) -> Any:
        self._pull()
        text = self._data["value"].encode("latin-1", "replace").decode("latin-1")
        whole = isinstance(data_type, ca._dbr._LongStringChannelType)
        self._data["value"] = text if whole else text[:STRING_SIZE]
        return await ca.ChannelString._read(self, data_type)


_CHANNELS: dict[RecordType, type[_RecordChannel]] = {
    RecordType.ai: DoubleChannel,
    RecordType.ao: DoubleChannel,
    RecordType.longin: LongChannel,
    RecordType.longout: LongChannel,
    RecordType.stringin: StringChannel,
    RecordType.stringout: StringChannel,
    RecordType.lsi: StringChannel,
}


def record_channel(record: Record, put: Put) -> _RecordChannel:
    """The channel of a record; ``put(record, value)`` is called for each client's put."""
    rtyp = record.point.rtyp
    kind = _CHANNELS.get(rtyp, EnumChannel)
    options = {"long_string_max_length": LONG_STRING_SIZE} if rtyp is RecordType.lsi else {}
    channel = kind(value=record.val, reported_record_type=rtyp.name, **options)
    channel.record, channel.put = record, put
    return channel


# ---- fields: made when somebody asks, read-only ----


class _FieldChannel(_FreshChannel):
    """A field of a record, read anew for each request."""

    pull: Callable[[], Any]

    def _pull(self) -> None:
        self._data["value"] = self.pull()

    def check_access(self, hostname: str, username: str) -> AccessRights:
        """Fields come from the configuration."""
        return AccessRights.READ


class _TextField(_FieldChannel, ca.ChannelString):  # type: ignore[misc]
    pass


class _DoubleField(_FieldChannel, ca.ChannelDouble):  # type: ignore[misc]
    pass


class _ShortField(_FieldChannel, ca.ChannelShort):  # type: ignore[misc]
    pass


class _EnumField(_FieldChannel, ca.ChannelEnum):  # type: ignore[misc]
    pass


_FIELD_CHANNELS: dict[Kind, tuple[type[_FieldChannel], Any]] = {
    Kind.TEXT: (_TextField, ""),
    Kind.NUMBER: (_DoubleField, math.nan),
    Kind.COUNT: (_ShortField, 0),
    Kind.SEVERITY: (_EnumField, 0),
}
_MENU_STATUS = tuple(status.name for status in Status)[: ca.MAX_ENUM_STATES]


def field_channel(record: Record, name: str) -> ca.ChannelData:
    """The channel of ``record.name``; KeyError when the record has no such field."""
    if name in {"SEVR", "STAT"}:
        words = MENU_SEVERITY if name == "SEVR" else _MENU_STATUS
        return _field(_EnumField, lambda: int(getattr(record, name.lower())), words)
    if name in {"NAME", "RTYP"}:
        return _field(_TextField, lambda: record.name if name == "NAME" else record.point.rtyp.name)
    if name == "UDF":
        return _field(_ShortField, lambda: int(record.udf))
    field = FIELDS[name]
    if record.point.rtyp not in field.rtyps:
        raise KeyError(name)
    kind, _ = _FIELD_CHANNELS[field.kind]
    return _field(kind, lambda: _field_value(record, field), MENU_SEVERITY if kind is _EnumField else None)


def _field(
    kind: type[_FieldChannel], pull: Callable[[], Any], words: tuple[str, ...] | None = None
) -> ca.ChannelData:
    options = {"enum_strings": words} if words else {}
    channel = kind(value=pull(), **options)
    channel.pull = pull
    return channel


def _field_value(record: Record, field: Field) -> Any:
    value = field.get(record.point)
    if value is None:
        return _FIELD_CHANNELS[field.kind][1]
    return value[:STRING_SIZE] if isinstance(value, str) else value


def _now(reading: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        reading.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a conversion waited for something")


def _scalar(values: Any, name: str) -> Value:
    if isinstance(values, bytes | str):
        values = [values]
    if len(values) != 1:
        raise Refused(f"{name}: one value is wanted, not {len(values)}")
    value = values[0]
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) else value.item() if hasattr(value, "item") else value  # numpy scalars


def _stamp(moment: float) -> TimeStamp:
    seconds = math.floor(moment)
    return TimeStamp(max(0, seconds - EPICS_EPOCH), int((moment - seconds) * 1e9))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
