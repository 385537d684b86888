"""Channel Access for one command: connect, then get, put or monitor, each awaited with a time-out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from archiver.ca import dbr, libca
from archiver.ca.error import SessionError
from archiver.ca.libca import ALARM, DISCONNECTED, NORMAL, NOT_CONNECTED, VALUE, ClientChannel, Context
from archiver.ca.listener import PvUpdate

# Bytes of a text as DBR_STRING carries it, with the zero at its end (db_access.h, MAX_STRING_SIZE)
_STRING_SIZE = 40
# Seconds of one turn of waiting, and for what a server has that has just answered
_TURN, _SOON = 0.02, 1.0


class Pv:
    """A PV of a session. ``native``, ``count``: the type of its field, or NOT_CONNECTED, and for how many values."""

    def __init__(self, context: Context, name: str) -> None:
        self.name = name
        self.native, self.count = NOT_CONNECTED, 0
        self.changed: Callable[[], None] = lambda: None
        self.channel: ClientChannel = context.channel(name, self._connection)

    @property
    def connected(self) -> bool:
        """Return whether the PV is connected."""
        return bool(self.native != NOT_CONNECTED)

    @property
    def requested(self) -> int:
        """Return the type in which it is read: its own; a state by its word."""
        return dbr.STRING if self.native == dbr.ENUM else self.native

    @property
    def is_text(self) -> bool:
        """Return whether it is an array of characters, which a long text is put to."""
        return self.native == dbr.CHAR and self.count > 1

    def _connection(self, native: int, count: int) -> None:
        self.native, self.count = native, count
        self.changed()


class Session:
    """The PVs of one command.

    ``timeout``: seconds that are waited for each answer; ``search``: until a PV counts as not there,
    if that is not the same.
    """

    def __init__(self, timeout: float, search: float | None = None) -> None:
        self._timeout = timeout
        self._search = timeout if search is None else search
        self._context = Context()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._context.close()

    def search(self, names: Sequence[str]) -> list[Pv]:
        """Return the PVs when all are connected, or count as not there. Raises SessionError for no name."""
        pvs = self.begin_search(names)
        self.wait_for_connections(pvs)
        return pvs

    def begin_search(self, names: Sequence[str]) -> list[Pv]:
        """Return the PVs, which are looked for from now on. Raises SessionError for no name."""
        return [Pv(self._context, name) for name in names]

    def wait_for_connections(self, pvs: Sequence[Pv]) -> None:
        """Wait until all PVs are connected, or count as not there."""
        self.wait(lambda: all(pv.connected for pv in pvs), self._search)

    def connect(self, name: str) -> Pv:
        """Return a connected PV. Raises SessionError."""
        (pv,) = self.search([name])
        if not pv.connected:
            raise SessionError(self.not_found(name))
        return pv

    def not_found(self, name: str) -> str:
        """Return the sentence about a PV that is not connected."""
        return f"{name} is not connected after {self._search:g} s: no server answers for this name"

    def get(self, pv: Pv, *, soon: bool = False) -> PvUpdate:
        """Return the PV's value; a record that was never processed has one, too. Raises SessionError.

        ``soon``: within a second, for a put waits for it.
        """
        timeout = min(self._timeout, _SOON) if soon else self._timeout
        answers: list[tuple[int, bytes]] = []
        pv.channel.get(dbr.TIME + pv.requested, 0, lambda status, data: answers.append((status, data)))
        self.wait(lambda: bool(answers), timeout)
        if not answers:
            raise SessionError(f"{pv.name} was not read within {timeout:g} s")
        status, data = answers[0]
        if status != NORMAL:
            raise SessionError(f"{pv.name} was not read: {libca.message(status)}")
        return dbr.update(pv.requested, pv.count, data)

    def put(self, pv: Pv, values: Sequence[str]) -> None:
        """Put values as texts, and wait until the server has processed them. Raises SessionError with its reason."""
        answers: list[int] = []
        if pv.is_text:
            data = " ".join(values).encode() + b"\0"
            kind, count = dbr.CHAR, len(data)
        else:
            texts = [value.encode() for value in values]
            if any(len(text) >= _STRING_SIZE for text in texts):
                raise SessionError(
                    f"{pv.name} takes texts of {_STRING_SIZE - 1} bytes; put longer ones to its field with $ behind"
                )
            data = b"".join(text.ljust(_STRING_SIZE, b"\0") for text in texts)
            kind, count = dbr.STRING, len(texts)
        before = self._stamps([pv, *self._errors(pv)])
        heard: list[str] = []
        for each, stamp_ns in before.items():
            if each is not pv:
                self.monitor(each, partial(_news, heard, stamp_ns))
        pv.channel.put(kind, count, data, lambda status, _: answers.append(status))
        self.wait(lambda: bool(answers))
        if not answers:
            raise SessionError(f"{pv.name}: the put has not ended within {self._timeout:g} s; it goes on")
        if answers[0] != NORMAL:
            raise SessionError(named(pv.name, self._reason(pv, before, heard) or _failure(pv, answers[0])))

    def _stamps(self, pvs: Sequence[Pv]) -> dict[Pv, int]:
        """Return the time stamps of PVs; not of those that cannot be read: an Off is put for all that."""
        stamps: dict[Pv, int] = {}
        for pv in pvs:
            with suppress(SessionError):
                stamps[pv] = self.get(pv, soon=True).stamp_ns
        return stamps

    def _reason(self, pv: Pv, before: Mapping[Pv, int], heard: Sequence[str]) -> str:
        """Return why a put was refused, as far as it was told since ``before``, time stamps of the PV and the errors.

        ``heard``: the errors that were told meanwhile; one that names the point is that of the put, after which the
        next may have come already, such as that of another try to connect. An IOC of rackioc has the whole sentence
        in the record Error of the instrument. The record that was put to has the alarm WRITE, unless another one is
        worse, and AMSG has 39 characters of the sentence.
        """
        try:
            now = {each: self.get(each) for each in before if each.connected}
            news = [each for each, update in now.items() if update.stamp_ns != before[each]]
            whole = [*reversed(heard), *(str(now[each].value) for each in news if each is not pv)]
            if pv not in news or now[pv].status != "WRITE":
                point = pv.name.partition(".")[0].rpartition(":")[2]
                return next((text for text in whole if point in re.findall(r"\w+", text)), next(iter(whole), ""))
            reason = self._text(f"{pv.name.partition('.')[0]}.AMSG")
            return next((text for text in whole if text.startswith(reason)), reason)
        except SessionError:
            return ""

    def _errors(self, pv: Pv) -> list[Pv]:
        """Return the record Error of the instrument, whole, if the IOC is one of rackioc and answers soon."""
        parts = pv.name.partition(".")[0].split(":")
        errors = [Pv(self._context, f"{':'.join(parts[:number])}:Error.VAL$") for number in range(1, len(parts))]
        self.wait(lambda: any(each.connected for each in errors), _SOON)
        return [each for each in errors if each.connected]

    def _text(self, name: str) -> str:
        return str(self.get(self.connect(name)).value)

    def monitor(
        self,
        pv: Pv,
        update: Callable[[PvUpdate], None],
        lost: Callable[[], None] = lambda: None,
        unread: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Call ``update`` with each value or alarm that is posted, also after a reconnection, during ``wait``.

        ``lost`` is called with each loss of a connection that was there (a server may answer a search and then refuse
        the channel, again and again), ``unread`` with the reason of each update that has no value.
        """
        was_connected = False

        def subscribe() -> None:
            nonlocal was_connected
            if pv.connected:
                was_connected = True
                pv.channel.unsubscribe()
                pv.channel.subscribe(dbr.TIME + pv.requested, 0, VALUE | ALARM, receive)

        def changed() -> None:
            nonlocal was_connected
            subscribe()
            if was_connected and not pv.connected:
                was_connected = False
                lost()

        def receive(status: int, data: bytes) -> None:
            if status == NORMAL:
                update(dbr.update(pv.requested, pv.count, data))
            elif status != DISCONNECTED:
                unread(libca.message(status))

        pv.changed = changed
        subscribe()

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> None:
        """Process what comes until ``done``, or for the time-out."""
        left = self._timeout if timeout is None else timeout
        while not done() and left > 0:
            self._context.poll(_TURN)
            left -= _TURN


def _news(heard: list[str], before_ns: int, update: PvUpdate) -> None:
    if update.stamp_ns != before_ns:
        heard.append(str(update.value))


def named(name: str, reason: str) -> str:
    """Return the sentence of a refused put, with the PV's name once: the reason may have it, or its end in front."""
    record = name.partition(".")[0]
    words = {word.strip(".,;:()'") for word in reason.split()}
    if words & {name, record}:
        return reason
    label, _, rest = reason.partition(": ")
    return f"{name}: {rest if rest and record.endswith(f':{label}') else reason}"


def _failure(pv: Pv, status: int) -> str:
    """Return what Channel Access calls the end of a put, and what it means where nothing may be put."""
    read_only = "; it can only be read: in rackioc an input, or a field that only the configuration sets"
    return f"{libca.message(status)}{'' if pv.channel.access[1] else read_only}"
