"""What a source says of its rows by name, in the SQL that all databases know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archiver.storage.transfer.contract import Channel

_CHANNELS = """
    SELECT channel.channel_id, channel.name, COALESCE(pv, channel.name), archiver.name FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
    LEFT JOIN archiver ON archiver.archiver_id = channel_owner.archiver_id ORDER BY channel.channel_id"""


class Named(ABC):
    """The part of a ``Source`` that is the same for all databases."""

    _archivers: Mapping[str, int]

    def channels(self) -> Sequence[Channel]:
        """Return all channels in order of their ids."""
        return [Channel(*row) for row in self._rows(_CHANNELS)]

    def statuses(self) -> Mapping[int, str]:
        """Return the names of the alarm statuses by id."""
        return dict(self._rows("SELECT status_id, name FROM status"))

    def archivers(self) -> Mapping[str, int]:
        """Return the sign of life (ns) of each archiver, as it was when the source was opened."""
        return self._archivers

    def _open(self) -> None:
        """Read the signs of life."""
        self._archivers = dict(self._rows("SELECT name, alive_time FROM archiver"))

    @abstractmethod
    def _rows(self, sql: str, *values: Any) -> Iterable[Any]:
        """Return the rows of a query."""
