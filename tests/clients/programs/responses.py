"""Responses of caproto, which all of its clients give."""

from __future__ import annotations

from typing import Any

from caproto import ChannelType, field_types, native_type

from tests.clients.programs import lines


def told(response: Any) -> dict[str, Any]:
    """Return a response with control metadata; a state as its word."""
    metadata = response.metadata
    value = _value(response)
    words = [bytes(word).decode() for word in getattr(metadata, "enum_strings", ())]
    return lines.told(
        words[value] if words else value,
        metadata.severity,
        units=getattr(metadata, "units", b""),
        lower=getattr(metadata, "lower_ctrl_limit", None),
        upper=getattr(metadata, "upper_ctrl_limit", None),
        words=words,
    )


def take(name: str, response: Any) -> None:
    """Hand on an update."""
    lines.update(name, _value(response), response.metadata.severity)


def readable(native: ChannelType) -> ChannelType:
    """Return the type with a time stamp in which a native type is best read: states as words."""
    as_text = ChannelType.STRING if native == ChannelType.ENUM else native
    return field_types["time"][as_text]


def writable(value: Any) -> ChannelType | None:
    """Return the type in which a value is put: words as texts, other values as the channel has them."""
    return ChannelType.STRING if isinstance(value, str) else None


def _value(response: Any) -> Any:
    if native_type(response.data_type) == ChannelType.CHAR:
        return bytes(response.data)
    values = lines.plain(response.data)
    return values[0] if len(values) == 1 else values
