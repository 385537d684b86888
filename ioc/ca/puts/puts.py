"""The puts of one client: from the bytes to the instrument, and the answer when that is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from drivers.base import Array, DeviceError, NotShown, Refused
from ioc import faults
from ioc.ca import dbr
from ioc.ca.message import BAD_COUNT, BAD_TYPE, NO_WRITE_ACCESS, NORMAL, PUT_FAIL
from ioc.ca.puts.putlog import Held, PutLog
from ioc.ca.view import Values, View
from ioc.port.ended import Ended
from ioc.record import Record

# Seconds without the end of a put after which what was sent behind it is answered all the same
PUT_PATIENCE = 0.3
# Puts of a client that may be under way, of which each takes some 4 kB, and requests of it that may wait behind them
MOST_PUTS = 20_000
MOST_BEHIND = 8_000
# As many of all clients: beyond that each may have its share of them
PUTS_TOGETHER = 60_000
BEHIND_TOGETHER = 24_000

Answer = Callable[[int, str], None]
Tell = Callable[[str], None]


class PutError(Exception):
    """A put that is wrong in itself, with its status code."""

    def __init__(self, status_code: int, reason: str) -> None:
        super().__init__(reason)
        self.status_code = status_code


class _Wanted:
    """What a client wants to put: the bytes of ``count`` values of a DBR type until they are decoded, once."""

    __slots__ = ("_values", "count", "dbr", "payload")

    def __init__(self, dbr_type: int, count: int, payload: bytes) -> None:
        self.dbr = dbr_type
        self.count = count
        self.payload = payload
        self._values: Array | None = None

    def values(self) -> Array:
        """Return the values. ValueError if there are too few bytes for them, KeyError if it is no type of values."""
        if self._values is None:
            self._values, self.payload = dbr.decode(self.dbr, self.count, self.payload), b""
        return self._values


class _UnderWay:
    """A put that is under way, between the ``older`` and the ``newer`` of its line, and what was sent behind it."""

    __slots__ = ("behind", "newer", "older")

    def __init__(self, older: _UnderWay | None) -> None:
        self.behind: list[Callable[[], None]] = []
        self.older = older
        self.newer: _UnderWay | None = None


class Line:
    """The puts of a client to one record that are under way, and what was sent behind each of them.

    Thousands may end in any order: each knows its neighbours, so that none is looked for.
    """

    def __init__(self) -> None:
        self.newest: _UnderWay | None = None
        self._waiting = 0
        self._late = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self) -> _UnderWay:
        """Add a put."""
        put = _UnderWay(self.newest)
        if self.newest is not None:
            self.newest.newer = put
        self.newest = put
        return put

    def behind(self, action: Callable[[], None]) -> None:
        """Do something when all puts of now are done, or when none has been for PUT_PATIENCE."""
        if self.newest is None or self._late:
            action()
            return
        self.newest.behind.append(action)
        self._waiting += 1
        if self._timer is None:
            self._wait()

    def done(self, put: _UnderWay, replaced: bool) -> None:
        """Note the end of a put; ``replaced``: a newer one took its place: what is behind it has to wait for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._late = False
        older, newer = put.older, put.newer
        if older is not None:
            older.newer = newer
        if newer is not None:
            newer.older = older
        else:
            self.newest = older
        if replaced and newer is not None:
            newer.behind[:0] = put.behind
        elif not replaced and older is not None:
            older.behind += put.behind
        else:
            self._do(put.behind)
        if self._waiting:
            self._wait()

    def _give_up(self) -> None:
        self._timer, self._late = None, True
        late: list[list[Callable[[], None]]] = []
        put = self.newest
        while put is not None:
            late.append(put.behind)
            put.behind, put = [], put.older
        for actions in reversed(late):
            self._do(actions)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PUT_PATIENCE, self._give_up)

    def _do(self, actions: Iterable[Callable[[], None]]) -> None:
        for action in actions:
            self._waiting -= 1
            action()


class Together:
    """The puts of all clients.

    left     those that clients had under way who have left: what others send comes behind them
    puts     how many are under way, of how many clients
    behind   how many requests wait behind them
    held     what the log of puts tells later
    """

    def __init__(self) -> None:
        self.left: dict[Record, Line] = {}
        self.puts = self.clients = self.behind = 0
        self.held: Held = {}

    def takes(self, waiting: int, of_all: int, most: int, together: int) -> bool:
        """Return True if a client that has so many ``waiting`` may have another one."""
        return waiting < most and (of_all < together or waiting < together // max(self.clients, 1))


class Puts:
    """Puts of one client under way.

    done      called after each answer that comes later than its request
    overtake  called before what makes something safe
    together  the puts of all clients
    log       where each is told once it has ended
    """

    def __init__(
        self, done: Callable[[], None], overtake: Callable[[], None], together: Together, log: PutLog
    ) -> None:
        self._done = done
        self._overtake = overtake
        self._log = log
        self._together = together
        self._left = together.left
        self._lines: dict[Record, Line] = {}
        self._ends: set[asyncio.Future[object]] = set()
        self._behind = 0

    def begin(
        self,
        view: View,
        dbr_type: int,
        count: int,
        payload: bytes,
        answer: Answer,
        *,
        callback: bool,
        late: bool,
        asked: float | None,
    ) -> None:
        """Begin a put; ``answer`` gets a status and the reason, now or when it has ended.

        ``late``: it waited so long that nobody may want it any more (``Lateness``).
        ``asked``: when it was asked for at the latest (monotonic s); None: now.
        """
        wanted = _Wanted(dbr_type, count, payload)
        tell = partial(self._tell, view, _values(view), wanted)
        try:
            waiting = self._begin(view, wanted, callback, late, asked)
            ended = None if waiting is None else asyncio.ensure_future(waiting)
        except (DeviceError, PutError) as error:
            answer(getattr(error, "status_code", PUT_FAIL), str(error))
            tell(_outcome(error, str(error)))
            return
        except Exception as error:
            answer(PUT_FAIL, _fault(view, error))
            tell(_outcome(error, str(error)))
            return
        if ended is None:
            answer(NORMAL, "")
            tell("")
            return
        line = self._lines.get(view.record)
        if line is None:
            line = self._lines[view.record] = Line()
        self._together.clients += not self._ends
        self._together.puts += 1
        self._ends.add(ended)  # the event loop itself keeps no hold of it
        finish = partial(self._finish, view, answer, tell, line, line.add())
        if isinstance(ended, Ended):
            ended.tells(finish)
        else:
            ended.add_done_callback(finish)

    def refuse(self, view: View, dbr_type: int, count: int, payload: bytes, answer: Answer) -> None:
        """Answer a put to a record that is served no more, for another one took its place."""
        error = PutError(PUT_FAIL, f"not sent, another record has taken the place of that one: {view.record.name}")
        answer(error.status_code, str(error))
        self._tell(view, (), _Wanted(dbr_type, count, payload), _outcome(error, str(error)))

    def under_way(self, record: Record) -> bool:
        """Return True if puts to a record are under way, of this client or of one that has left."""
        return record in self._lines or record in self._left

    def then(self, record: Record, action: Callable[[], None]) -> None:
        """Do something when the puts to a record that are ``under_way`` are done, if that is soon.

        What is more than MOST_BEHIND is done at once: the client must be heard, it may put what makes things safe.
        """
        together = self._together
        if not together.takes(self._behind, together.behind, MOST_BEHIND, BEHIND_TOGETHER):
            action()
            return

        def act() -> None:
            self._behind -= 1
            together.behind -= 1
            action()

        self._behind += 1
        together.behind += 1
        (self._lines.get(record) or self._left[record]).behind(act)

    def owes(self) -> bool:
        """Return True while puts are under way, or requests wait behind them."""
        return bool(self._ends) or self._behind > 0

    def leave(self) -> None:
        """Leave what is under way to the others: the client has left, or sends nothing more."""
        self._left |= self._lines

    def _finish(
        self, view: View, answer: Answer, tell: Tell, line: Line, put: _UnderWay, ended: asyncio.Future[object]
    ) -> None:
        """Answer a put that has ended; that of a client which has left meanwhile was carried out, too."""
        self._ends.discard(ended)
        self._together.puts -= 1
        self._together.clients -= not self._ends
        successor: object = None
        reason = outcome = ""
        try:
            successor = ended.result()
        except DeviceError as error:
            reason = str(error)
            outcome = _outcome(error, reason)
        except asyncio.CancelledError as error:
            reason = f"the put was given up, but may have been carried out: {view.record.name}"
            outcome = _outcome(error, reason)
        except Exception as error:
            reason = _fault(view, error)
            outcome = _outcome(error, reason)
        answer(PUT_FAIL if reason else NORMAL, reason)
        self._end(view.record, answer, line, put, successor)
        if not isinstance(successor, asyncio.Future):  # else a newer one took its place, which tells how it ended
            tell(outcome)

    def _too_many(self) -> int:
        """Return how many puts are under way if a further one is too many; else 0."""
        own, together = len(self._ends), self._together
        return 0 if together.takes(own, together.puts, MOST_PUTS, PUTS_TOGETHER) else own

    def _begin(
        self, view: View, wanted: _Wanted, callback: bool, late: bool, asked: float | None
    ) -> Awaitable[object] | None:
        """Begin a put; while there are too many, or if it comes ``late``, only if it makes things safe."""
        name, dbr_type, count, too_many = view.record.name, wanted.dbr, wanted.count, self._too_many()
        if dbr_type in {dbr.PUT_ACKT, dbr.PUT_ACKS}:
            if late:  # the alarm of now may be another
                raise PutError(PUT_FAIL, _late(name))
            (value,) = _decoded(name, _Wanted(dbr.ENUM, 1, wanted.payload))
            view.owner.acknowledge(view.record, "ACKT" if dbr_type == dbr.PUT_ACKT else "ACKS", int(value))
            return None
        if not view.writable:
            raise PutError(NO_WRITE_ACCESS, f"{name} cannot be written")
        if dbr_type > dbr.DOUBLE:
            raise PutError(BAD_TYPE, f"{name} cannot be written with data type {dbr_type}")
        if not 0 < count <= max(view.count, 1):
            raise PutError(BAD_COUNT, f"{name} takes {view.count} values at most, not {count}")
        values = _decoded(name, wanted)
        if _makes_safe(view, values):
            self._overtake()
            asked = None  # however long it waited: it is wanted now, behind all that was put before
        elif too_many:
            raise PutError(PUT_FAIL, f"not sent, {too_many} puts of this client are under way: {name}")
        elif late:
            raise PutError(PUT_FAIL, _late(name))
        return view.put(values, callback, asked)

    def _tell(self, view: View, before: Values, wanted: _Wanted, failed: str) -> None:
        """Have the log tell of a put to a value, unless that is no value at all."""
        with suppress(ValueError, KeyError):
            self._log.tell(view, before, wanted.values(), failed)

    def _end(self, record: Record, answer: Answer, line: Line, put: _UnderWay, successor: object) -> None:
        """Note the end of a put; what is behind it waits for the one that took its place, whoever's that is."""
        replaced = isinstance(successor, asyncio.Future)
        if isinstance(successor, asyncio.Future) and put.newer is None:
            successor.add_done_callback(partial(self._follow, record, answer, line, line.add()))
        line.done(put, replaced)
        if line.newest is None:
            for lines in (self._lines, self._left):
                if lines.get(record) is line:
                    del lines[record]
        self._done()

    def _follow(
        self, record: Record, answer: Answer, line: Line, put: _UnderWay, successor: asyncio.Future[object]
    ) -> None:
        """Note the end of another client's put, which stands in a line for one whose place it took.

        If that failed, the one before it is not carried out, as in EPICS base; there nobody is told.
        """
        given_up = successor.cancelled()
        error = None if given_up else successor.exception()
        if given_up or error:
            answer(PUT_FAIL, f"not carried out, a newer put took its place and failed: {error or record.name}")
        self._end(record, answer, line, put, None if given_up or error else successor.result())


def _values(view: View) -> Values:
    """Return what is there before a put; nothing where that cannot be said."""
    try:
        return view.values()
    except Exception:
        return ()


def _late(name: str) -> str:
    return f"not sent, it waited too long (for the client to take its answers, or for the IOC): {name}"


def _makes_safe(view: View, values: Array) -> bool:
    record = view.record
    if record.point.safe is None or view.field_name or len(values) != 1:
        return False
    try:
        return record.check_put(values[0]) == record.point.safe
    except Refused:  # by who is to carry it out
        return False


def _outcome(error: BaseException, reason: str) -> str:
    """Return what the log tells of a put that failed: refused, or sent with an outcome that nobody knows."""
    refused = isinstance(error, (Refused, PutError)) and not isinstance(error, NotShown)
    return f"{'refused' if refused else 'failed, it may have been carried out'}: {reason}"


def _fault(view: View, error: Exception) -> str:
    """Return what a client is told of a put that ended in a fault of the program."""
    faults.log_once("a put", view.record.name, error)
    return f"internal error, see the log; it may have been carried out: {view.record.name}"


def _decoded(name: str, wanted: _Wanted) -> Array:
    try:
        return wanted.values()
    except ValueError as error:
        raise PutError(BAD_COUNT, f"{name}: {error}") from None
