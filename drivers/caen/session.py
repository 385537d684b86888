"""One login to one crate, in which every failure of caen-libs is raised as a DeviceError."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from drivers.base import BadReply, DeviceError, LinkDown, NoReply, Status, Wait
from drivers.caen.config import Config
from drivers.caen.library import RepeatingDevice, open_device, without_types
from drivers.caen.replies import board_in, crate_map
from drivers.caen.retry import Allowance

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board
    from caen_libs.caenhvwrapper import Device, Error

log = logging.getLogger(__name__)

# What a step yields in which nothing was heard of the crate
UNHEARD = Wait()

# What the result codes of CAENHVWrapper.h are about; those that are in no set are about the one call. READERR,
# WRITEERR and SYSERR mean a bad parameter or a dead line, depending on the system.
_LINK_CODES = {"DOWN", "SOCKETERROR", "COMMUNICATIONERROR", "NOTCONNECTED", "OS", "LOGOUTFAILED"}
_SLOT_CODES = {"SLOTNOTPRES", "NOTPRES"}
_UNSUPPORTED_CODES = {
    "EXECCOMNOTIMPL", "GETPROPNOTIMPL", "SETPROPNOTIMPL", "PROPNOTFOUND", "NOTSYSPROP", "NOTGETPROP",
    "PARAMPROPNOTFOUND", "PARAMNOTFOUND", "FUNCTIONNOTAVAILABLE", "NOTYETIMPLEMENTED",
}  # fmt: skip
# caen-libs' word for a code that is not in the header
_UNKNOWN = "UNKNOWN"

# What caen-libs raises on replies that it cannot make sense of: unknown unit or type codes and text that is not
# ASCII (ValueError), parameters of a type that has no value (KeyError), enums that are too long (AssertionError),
# text for a channel's parameter (TypeError, up to 3.3 at least).
_NONSENSE = (ValueError, KeyError, AssertionError, TypeError)

# Failures in a row after which it is asked whether the crate answers at all: four of any kind, two time-outs, or one
# that speaks of the line
_DOUBT = 4
_TIMEOUT_WEIGHT = 2
# What must work if the crate answers at all, in the order in which it is asked: calls that disturb nothing first
_WITNESSES = ("property", "presence", "name", "value", "map")
# Seconds after which no other of them is asked: each may take a time-out, and values count as true for two seconds
_PATIENCE = 1.0


class BoardGone(DeviceError):
    """A slot without a board, or without it any more."""


class Unsupported(BadReply):
    """A function, parameter or property that the crate does not have."""


class Garbled(BadReply):
    """A reply that is noise: what was asked may have been done or not."""


class Unreached(NoReply):
    """A call that failed on the line, while the crate answers others: it may have been carried out or not."""

    status = Status.COMM


class Session:
    """An open handle of CAEN's library.

    The constructor raises LinkDown (no library, no crate, login refused) or NoReply.

    urgent       True if an Off waits to be sent: of the calls that ask for the crate it waits for one at most
    allowance    the time for what failed before
    replies      calls that were answered well so far
    boards       the crate map as last read; map_changed: True when it differs from the one before it
    kinds        (slot, channel, parameter) -> its type and mode, as long as the boards are the same
    system       caen-libs' name of the system type
    """

    def __init__(self, config: Config, urgent: Callable[[], bool]) -> None:
        self.allowance = Allowance()
        self.replies = 0
        self.boards: Sequence[Board | None] = ()
        self.map_changed = False
        self.kinds: dict[tuple[int, int | None, str], Any] = {}
        self.system = config.system
        self._host = config.host
        self._urgent = urgent
        self._doubt = 0
        self._asked: Iterator[bool] | None = None  # what was begun to be asked since the last answer
        self._given_up = False
        self._slot: int | None = None  # of the call in progress
        # (kind, slot) -> a call that was answered, the newest last
        self._witnesses: dict[tuple[str, int | None], Callable[[Device], object]] = {}
        self._occupied: set[int] = set()  # slots whose boards have not been found gone
        self._use(open_device(config))

    @contextmanager
    def asking(self, what: str, slot: int | None = None) -> Iterator[Device]:
        """Yield the device for one call about ``what``.

        Raises LinkDown, BoardGone, NoReply, BadReply.
        """
        from caen_libs.caenhvwrapper import Error  # noqa: PLC0415  open_device has imported it before

        self._slot = slot
        try:
            yield self._repeating
        except Error as error:
            failure = self._translate(error, what, slot)
            self._failed(failure, error.code.name)
            raise failure from error
        except _NONSENSE as error:
            failure = BadReply(f"{what}: the reply makes no sense: {error}")
            self._failed(failure, "")
            raise failure from error
        self._answered()
        if slot is not None:
            self._occupied.add(slot)

    def read_map(self) -> None:
        """Read the crate map into ``boards``. Not in each scan: the library throws away what it knows of the crate.

        Raises DeviceError.
        """
        with self.asking("crate map") as device:
            self._store(self._ask_map(device))
        self.trust("map", self._ask_map)

    def _ask_map(self, device: Device) -> Sequence[Board | None]:
        """Ask for the crate map; the library throws away what it knows of the crate then, and so must caen-libs."""
        boards = crate_map(device)
        self._use(without_types(self._device))
        return boards

    def _use(self, device: Device) -> None:
        self._device = device
        self._repeating: Any = RepeatingDevice(device, self._follow_map)

    def trust(self, kind: str, call: Callable[[Device], object]) -> None:
        """Record the call that was just answered: if others are not, it tells whether the crate answers at all."""
        key = kind, self._slot
        self._witnesses.pop(key, None)
        self._witnesses[key] = call

    def confirm(self, doubt: DeviceError | None = None) -> None:
        """Ask for something that this crate answered before. Raises LinkDown when all of that fails, too.

        A parameter, a channel or a board may fail in each call while the crate and its other boards are well, and so
        may all calls of one kind. An Off that waits goes behind one such call; the next failure goes on with them.
        """
        self._asked = self._asked or self._ask_others()
        for answered in self._asked:
            if answered:
                self._answered()
            if answered or self._urgent():
                return
        self._given_up = True
        raise self._lost(doubt)

    def _lost(self, doubt: DeviceError | None) -> LinkDown:
        return LinkDown(f"{self._host} does not answer any more; {doubt or 'all calls of the last scan failed'}")

    def _ask_others(self) -> Iterator[bool]:
        """Make calls that were answered before, for some time but at least two; yield of each if it is answered."""
        until = monotonic() + _PATIENCE
        for number, witness in enumerate(self._others(self._slot)):
            yield self._answers(witness) is None
            if number > 0 and monotonic() >= until:
                return

    def _others(self, last: int | None) -> Iterator[Callable[[Device], object]]:
        """Yield calls that were answered, one of each kind: first those about another slot than the ``last`` call."""
        newest = [(key, call) for key, call in reversed(self._witnesses.items())]
        for same in (False, True):
            for kind in _WITNESSES:
                calls = [call for (each, slot), call in newest if each == kind and (slot == last) is same]
                yield from calls[:1]

    def _answers(self, call: Callable[[Device], object]) -> str | None:
        """Make a call; return None if it is answered, else the name of the result code ("" for noise)."""
        from caen_libs.caenhvwrapper import Error  # noqa: PLC0415  open_device has imported it before

        try:
            call(self._device)
        except Error as error:
            return str(error.code.name)
        except _NONSENSE as error:
            log.debug("%s: %s", self._host, error)
            return ""
        return None

    def close(self) -> None:
        """Log out. Never raises: a dead crate cannot be left properly."""
        try:
            self._device.close()
        except Exception as error:
            log.info("%s: the session could not be closed: %s", self._host, error)

    def _answered(self) -> None:
        self.replies += 1
        self._doubt = 0
        self._asked = None

    def _failed(self, failure: DeviceError, code: str) -> None:
        """Weigh a failure; ask whether the crate answers at all when there are too many in a row."""
        if code == "SLOTNOTPRES":
            return
        if self._given_up:  # what is sent last needs no more time than its own
            raise self._lost(failure)
        if code in _LINK_CODES:
            self._doubt += _DOUBT
        else:
            self._doubt += _TIMEOUT_WEIGHT if code == "TIMEERR" else 1
        if self._doubt >= _DOUBT:
            self.confirm(failure)

    def _translate(self, error: Error, what: str, slot: int | None) -> DeviceError:
        code = error.code.name
        said = code if error.message == code else f"{error.message} ({code})"
        sentence = f"{what}: the call failed: {said}"
        if code == "TIMEERR":
            return NoReply(sentence)
        if code in _LINK_CODES:
            return Unreached(sentence)
        if slot is not None and (
            (code in _SLOT_CODES and self._is_gone(slot)) or (code == "SYSCONFCHANGE" and self._board(slot) is None)
        ):
            self._occupied.discard(slot)
            return BoardGone(sentence)
        if code == _UNKNOWN:
            return Garbled(f"{what}: the reply is an error code that caen-libs does not know")
        return Unsupported(sentence) if code in _UNSUPPORTED_CODES else BadReply(sentence)

    def _is_gone(self, slot: int) -> bool:
        """Return True if a slot of which a call said so is empty: one parameter may answer that, too.

        Its presence is asked, and where that is denied, or not told, what its board answered last.
        """
        if slot not in self._occupied:
            return True
        newest = reversed(self._witnesses.items())
        read = [call for (kind, where), call in newest if where == slot and kind != "presence"]
        for call in (lambda device: board_in(device, slot), *read[:1]):
            code = self._answers(call)
            if code is None:
                self._answered()
                return False
            if code not in _SLOT_CODES | _UNSUPPORTED_CODES:
                return False
        return True

    def _board(self, slot: int) -> Board | None:
        return self.boards[slot] if slot < len(self.boards) else None

    def _store(self, boards: Sequence[Board | None]) -> None:
        self.map_changed = self.map_changed or boards != self.boards
        self.boards = boards
        self._occupied = {slot for slot, board in enumerate(boards) if board is not None}
        self.kinds.clear()

    def _follow_map(self) -> bool:
        """Read the map after boards came or went; return True if the board that was asked is the same as before."""
        slot = self._slot
        before = None if slot is None else self._board(slot)
        again: Any = RepeatingDevice(self._device, lambda: True)  # the map itself may be answered with this code
        self._store(self._ask_map(again))
        return slot is None or self._board(slot) == before
