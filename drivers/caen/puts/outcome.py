"""What a result code of a put, and a value that was read back, say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from drivers.base import DeviceError
from drivers.caen.formats import Number, Raw
from drivers.caen.items import Variable
from drivers.caen.session import BoardGone

# Codes of CAENHVWrapper.h with which a put was certainly not carried out: there is no such thing, or it does not take
# such a value, or not from this user. All others, also those that are newer than the header, may come behind a put
# that was carried out: WRITEERR and SYSERR, too, mean a dead line on some systems
_REFUSALS = {
    "OUTOFRANGE", "EXECCOMNOTIMPL", "SETPROPNOTIMPL", "PROPNOTFOUND", "EXECNOTFOUND", "NOTSYSPROP", "NOTSETPROP",
    "NOTEXECOMM", "PARAMPROPNOTFOUND", "PARAMNOTFOUND", "INVALIDPARAMETER", "FUNCTIONNOTAVAILABLE",
    "NOTYETIMPLEMENTED", "LOGINFAILED", "USERPASSFAILED",
}  # fmt: skip

# Steps of a unit, in its last digits, and as a part of its range: 5 digits for the currents of N1470 and V65xx
# (families' manuals), no more anywhere; 14 bits where the digits are finer than that. Assumed for other units
_STEP_DIGITS = 5.0
_STEP_PART = 2.0**-14


def is_refusal(error: DeviceError) -> bool:
    """Return True if a put that failed was certainly not carried out."""
    code = getattr(error.__cause__, "code", None)
    return isinstance(error, BoardGone) or getattr(code, "name", "") in _REFUSALS


def is_taken(item: Variable, asked: Raw, got: Raw, before: Raw | None) -> bool:
    """Return True if the crate has what was asked.

    A number that is the one of ``before`` has to be it to the last digit shown: it may be that nothing was done.
    """
    form = item.format
    if not isinstance(form, Number) or got != before:
        return form.agrees(asked, got)
    return replace(form, resolution=1.0).agrees(asked, got)


def is_rounded(item: Variable, asked: Raw, got: Raw, ceilings: Iterable[float]) -> bool:
    """Return True if a unit took the step nearest to what was asked: 0.05 uA for 0.07 uA.

    The crate tells no steps (caen-libs asks for them on V8100 alone), so a small difference counts as one, unless
    the value lies at one of ``ceilings``, the voltages to which others limit the channel. A unit that cuts a value
    off by less than a step for another reason cannot be told from one that rounds.
    """
    form = item.format
    if not isinstance(form, Number) or isinstance(asked, str) or isinstance(got, str):
        return False
    if form.agrees(asked, got, patient=False):
        return True
    if any(form.agrees(ceiling, got) for ceiling in ceilings):
        return False
    span = form.high - form.low if form.high is not None and form.low is not None else 0.0
    step = max(_STEP_DIGITS * form.resolution * 10.0**-form.digits, _STEP_PART * span)
    return abs(asked - got) < step
