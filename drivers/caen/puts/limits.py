"""What is asked before a put is sent: limits, unit and words as they are now, and the range of a current."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import suppress
from typing import TypeVar

from drivers.base import BadReply, DeviceError, LinkDown, NoReply, Refused, Step, Value, Wait
from drivers.caen.formats import Choice, Number, Raw
from drivers.caen.items import Variable
from drivers.caen.puts.target import Target
from drivers.caen.questions import Question, ask_exponent, ask_parameter, is_like
from drivers.caen.session import BoardGone

log = logging.getLogger(__name__)

# How often a parameter is asked for its limits and unit while other settings of its channel move them
_MOST_QUESTIONS = 5

_Result = TypeVar("_Result")
Steps = Generator[Step, None, _Result]


def ask_limits(target: Target, meant: Variable) -> Steps[Variable]:
    """Return the parameter as it is now. Raises Refused where that cannot be told: nothing was sent.

    ``meant`` is the parameter as it was when the value was put. The range of a current is read behind the questions,
    and nothing is asked behind that.
    """
    item = target.item
    for _ in range(_MOST_QUESTIONS):
        try:
            moves = _moves(target)
            now = yield from paused(target.section.metadata.question(target.session, item))
            yield from _read_range(target, now)
        except LinkDown:
            raise
        except DeviceError as error:
            raise Refused(f"{item.label}: not sent, for it was asked for its limits in vain: {error}") from error
        if _moves(target) == moves:
            return _check_unit(now, meant)
    raise Refused(f"{item.label}: not sent, other settings move its limits and unit all the time; put it again")


def ask_words(target: Target, meant: Variable, value: Value) -> Steps[Variable]:
    """Return a choice as it is now, asked for its words while they are not certain. Raises Refused: nothing was sent.

    ``value`` is an index of the words of ``meant``, the parameter as it was when the value was put.
    """
    item, metadata = target.item, target.section.metadata
    if not metadata.knows_words(item):
        try:
            item = yield from paused(metadata.question(target.session, item))
        except LinkDown:
            raise
        except DeviceError as error:
            raise Refused(f"{item.label}: not sent, for it was asked for its words in vain: {error}") from error
    if _word(item, value) != _word(meant, value):
        raise Refused(f"{item.label}: not sent, it has other words than it was taken to have; put it again")
    return item


def words_of_off(target: Target) -> Steps[Variable]:
    """Return the switch of a channel that is off, asked for its words while they are not certain.

    There is time to ask, and the wrong word would switch it on. What is not answered holds up no Off. Raises
    LinkDown, and BadReply where it is not the kind of switch that it was taken for: the Off is repeated then.
    """
    item, metadata = target.item, target.section.metadata
    if not metadata.knows_words(item):
        try:
            return (yield from paused(metadata.question(target.session, item)))
        except LinkDown:
            raise
        except DeviceError as error:
            if item.label in metadata.corrected:
                raise
            log.debug("%s: an Off is sent with the words of before: %s", item.label, error)
    return item


def is_off(target: Target) -> Steps[bool]:
    """Return True if the channel's status says that it is off.

    It is read where the one of before may be that of before a restart, and so may be the words of the switch.
    """
    if target.status_is_old and not target.section.metadata.knows_words(target.item):
        with suppress(BadReply, NoReply, BoardGone):
            _, readings = target.read_bits()
            yield readings
        yield Wait()
    return target.is_off


def other_switch(target: Target) -> Steps[Variable | None]:
    """Return the switch in the slot of a board that is gone, if it has other words: there the same number may be On.

    None: it has the same ones, or the crate does not tell. Raises LinkDown, and BadReply where it is not known which
    of its words is Off.
    """
    item = target.item
    if target.section.present or not item.switch or item.slot is None or not isinstance(item.format, Choice):
        return None
    where = target.session, item.slot, item.channel, item.name
    try:
        with suppress(BadReply):  # it may be another kind of parameter
            if (yield from paused(is_like(*where, item.format))):
                return None
        yield Wait()
        target.session.kinds.pop(where[1:], None)  # that of the board of before
        now = yield from paused(ask_parameter(*where))
    except LinkDown:
        raise
    except DeviceError as error:
        log.debug("%s: an Off is sent with the words of the board that is gone: %s", item.label, error)
        return None
    if not isinstance(now, Variable) or now.safe is None:
        raise BadReply(f"{item.label}: Off was not sent, for another board is in the slot, and has no word for it")
    return now


def is_same_unit(target: Target, item: Variable, state: tuple[Raw, ...] | None) -> Steps[bool]:
    """Return True if the unit of a current is still that of ``item``, with which its range was ``state``.

    Ranges were just read; where the crate lets none be read, the unit itself is asked. Raises DeviceError.
    """
    if not item.current:
        return True
    if target.ranges:
        return state is not None and target.range_state == state
    assert item.slot is not None
    assert isinstance(item.format, Number)
    yield Wait()
    exponent = yield from paused(ask_exponent(target.session, item.slot, item.channel, item.name))
    return exponent == item.format.exponent


def paused(question: Question[_Result]) -> Steps[_Result]:
    """Ask, with a pause between two calls."""
    while True:
        try:
            next(question)
        except StopIteration as end:
            result: _Result = end.value
            return result
        yield Wait()


def _moves(target: Target) -> tuple[object, ...]:
    """Return what differs when a put, or a change that was seen, may have moved limits and unit of a parameter."""
    item, section = target.item, target.section
    return section.doubts.sent(item.channel), section.metadata.marks(item.label), target.range_state


def _read_range(target: Target, now: Variable) -> Steps[None]:
    """Read the ranges of a current; where the crate lets none be read, ask for its unit once more."""
    for each in target.ranges if now.current else ():
        yield Wait()
        yield target.section.fetch(target.session, [each])
    if not (yield from is_same_unit(target, now, target.range_state)):
        target.section.metadata.doubt_units(now.channel)


def _check_unit(now: Variable, meant: Variable) -> Variable:
    """Return the parameter if its unit is still the one that was ``meant``: 5 uA are not sent as 5 mA."""
    before, after = meant.format.fields().get("egu"), now.format.fields().get("egu")
    if before != after:
        raise Refused(
            f"{now.label}: not sent, its unit has changed from {before} to {after}; put it again in {after}"
        )
    return now


def _word(item: Variable, value: Value) -> str | None:
    """Return the word that an index stands for; None where it stands for none."""
    words = item.format.words if isinstance(item.format, Choice) else ()
    return words[value] if isinstance(value, int) and 0 <= value < len(words) else None
