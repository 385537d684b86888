"""What a request asks for: PVs, times and an operator, out of parameters that anybody may have written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from archiver.sample import END_OF_TIME_NS
from archiver.times import parse_time
from web.retrieval.operators import Operator, operator_of

_SECOND_NS = 10**9
_HOUR_NS, _DAY_NS = 3600 * _SECOND_NS, 86_400 * _SECOND_NS
# Characters of a PV with its operator, and PVs of a request, at most
LONGEST, MOST = 500, 1000

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+ -]\d\d:?\d\d)?", re.ASCII)
_CALL = re.compile(r"(?P<operator>[^()]*)\((?P<arguments>[^()]+)\)")
_PERIOD = re.compile(r"P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})W)?(?:(\d{1,6})D)?", re.ASCII)
# Days of a year, a month, a week and a day
_DAYS = (366, 31, 7, 1)


class BadRequest(Exception):
    """A request that has no answer: a sentence for who sent it."""


class Parameters(Protocol):
    """The parameters of a request."""

    def get(self, key: str, /) -> str | None:
        """Return the value of a parameter, None if it is not there."""


class Wanted(NamedTuple):
    """A PV as it was asked for, with an operator, or None for its samples."""

    pv: str
    operator: Operator | None


class Span(NamedTuple):
    """From when until when, in ns since 1970, both included."""

    since_ns: int
    until_ns: int


def span(parameters: Parameters, now_ns: int) -> Span:
    """Return the span of a request: left out, the end is in an hour, the begin a day before. Raises BadRequest."""
    until_ns = _time("to", parameters.get("to"), now_ns + _HOUR_NS)
    since_ns = _time("from", parameters.get("from"), until_ns - _DAY_NS)
    if until_ns < since_ns:
        raise BadRequest("'to' is before 'from': ask for a span that ends after it begins")
    return Span(since_ns, until_ns)


def moment(parameters: Parameters, now_ns: int) -> Span:
    """Return the time of a request for values at a time, and from when on they may be. Raises BadRequest."""
    at_ns = _time("at", parameters.get("at"), now_ns)
    period = parameters.get("searchPeriod") or "P1D"
    match = _PERIOD.fullmatch(period)
    if match is None or not any(match.groups()):
        raise BadRequest("'searchPeriod' is not a period: write P1D, P2W, P1M or P1Y")
    days = sum(int(number or 0) * each for number, each in zip(match.groups(), _DAYS, strict=True))
    return Span(max(0, at_ns - days * _DAY_NS), at_ns)


def wanted(texts: Sequence[str], operator: str | None) -> list[Wanted]:
    """Return the PVs of a request, each with its operator, or that of all. Raises BadRequest."""
    if not texts:
        raise BadRequest("'pv' is missing: name the PV, such as ?pv=LAB:HV1:S00:C00:VMon")
    if len(texts) > MOST:
        raise BadRequest(f"{len(texts)} PVs are too many at a time: ask for {MOST} at most")
    return [_wanted(text, operator) for text in texts]


def limit(text: str | None, usual: int) -> int:
    """Return a number of names, -1 for all. Raises BadRequest."""
    try:
        return usual if text is None else int(text[:20])
    except ValueError:
        raise BadRequest("'limit' is not a number: write how many names there may be, or -1 for all") from None


def plain(pv: str) -> str:
    """Return the name of a PV without the protocol before it and the field of its value behind it."""
    return re.sub("^(ca|pva)://", "", pv.strip()).removesuffix(".VAL")


def _wanted(text: str, operator: str | None) -> Wanted:
    if len(text) > LONGEST:
        raise BadRequest(f"'pv' has {len(text)} characters: no PV has a name as long as that")
    call = _CALL.fullmatch(text.strip())
    if call:
        pv, *arguments = call["arguments"].split(",")
        operator = "_".join([call["operator"], *(each.strip() for each in arguments)])
    elif "(" in text and ")" not in text:
        raise BadRequest("'pv' has a parenthesis that is not closed: write it as mean_60(PV)")
    else:
        pv = text
    try:
        return Wanted(plain(pv), operator_of(operator) if operator else None)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _time(name: str, text: str | None, usual_ns: int) -> int:
    if text is None:
        return max(0, usual_ns)
    text = text.strip()
    if not _TIME.fullmatch(text):
        raise BadRequest(f"'{name}' is not a time: write it as 2026-11-20T14:00:00.000Z, or with an offset as +01:00")
    try:
        # a plus that was not encoded arrives as a space
        time_ns = parse_time(text.replace(" ", "+"), 0)
    except ValueError:
        raise BadRequest(f"'{name}' is not a time: there is no such day or hour") from None
    return min(max(0, time_ns), END_OF_TIME_NS)
