"""The addresses of the API: what each is asked, and what it answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from archiver.ca import dbr
from archiver.history.query import HistoryError
from archiver.sample import Range, unpack
from archiver.storage.store import StoreError
from web.api import history
from web.api.results import (
    AlarmResult,
    AlarmsResult,
    BoardResult,
    HistoryResult,
    InstrumentResult,
    Limits,
    PvResult,
    RackResult,
    ValueResult,
)
from web.api.shown import Shown
from web.live import value
from web.live.hub import Hub, HubError
from web.live.pv import Pv
from web.rack.advice import Advice
from web.rack.alarms import Alarm, Alarms
from web.rack.rack import Rack

# PVs of one request.
MOST_PVS = 1000
# Histories that are read at a time.
_READERS = 2


class ApiError(Exception):
    """A request that cannot be answered: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query of an address, or in its path."""

    name: str
    description: str
    required: bool = False
    repeated: bool = False
    in_path: bool = False


@dataclass(frozen=True)
class Endpoint:
    """An address: what it does in a sentence, its parameters, the type of its answer, and who makes it."""

    path: str
    summary: str
    parameters: Sequence[Parameter]
    result: Any
    answer: Callable[[Request], Awaitable[Any]]

    def route(self) -> Route:
        """Return the route."""
        adapter = TypeAdapter(self.result)

        async def act(request: Request) -> Response:
            try:
                result = await self.answer(request)
            except ApiError as error:
                return JSONResponse({"error": str(error)}, error.status)
            except HubError as error:
                return JSONResponse({"error": str(error)}, 400)
            return Response(adapter.dump_json(result), media_type="application/json")

        return Route(self.path.replace("{name}", "{name:path}"), act, methods=["GET"])


class Api:
    """The answers; ``database``: URL of the archive, None without one; ``words``: status bit -> its meaning."""

    def __init__(
        self, hub: Hub, rack: Rack, alarms: Alarms, advice: Advice, database: str | None, words: Mapping[str, str]
    ) -> None:
        self._hub = hub
        self._rack = rack
        self._alarms = alarms
        self._advice = advice
        self._database = database
        self._words = dict(words)
        self._reading = asyncio.Semaphore(_READERS)

    def endpoints(self) -> list[Endpoint]:
        """Return all addresses."""
        pv = Parameter("pv", "name of a PV; may be given several times", required=True, repeated=True)
        return [
            Endpoint("/api/instruments", "The instruments, their boards and channels.", (), RackResult, self._rack_),
            Endpoint(
                "/api/pvs",
                "The names of PVs.",
                (
                    Parameter("glob", "with * and ?; left out: all"),
                    Parameter("limit", "so many at most; left out: all"),
                ),
                list[str],
                self._names,
            ),
            Endpoint(
                "/api/pvs/{name}",
                "A PV with its metadata; also one that is a field, such as X.DESC.",
                (Parameter("name", "name of the PV", required=True, in_path=True),),
                PvResult,
                self._pv,
            ),
            Endpoint("/api/values", "The values of PVs.", (pv,), list[ValueResult], self._values),
            Endpoint("/api/alarms", "What is in alarm, and what to do about it.", (), AlarmsResult, self._alarms_),
            Endpoint(
                "/api/history",
                "The history of PVs as curves.",
                (
                    Parameter("pv", "name or glob; may be given several times", required=True, repeated=True),
                    Parameter("since", "1h, 30m, 2d ago, or a time (UTC): 2026-11-20 14:00; left out: 1h"),
                    Parameter("until", "as since; left out: now"),
                    Parameter(
                        "points", f"about so many in each curve, {history.MOST_POINTS} at most; left out: 1000"
                    ),
                ),
                HistoryResult,
                self._history,
            ),
        ]

    async def _rack_(self, request: Request) -> RackResult:
        found = [
            InstrumentResult(
                each.name, each.kind, each.prefix, each.points, [BoardResult(**vars(board)) for board in each.boards]
            )
            for each in self._rack.instruments
        ]
        return RackResult(self._rack.prefix, self._database is not None, self._words, found)

    async def _names(self, request: Request) -> list[str]:
        glob = request.query_params.get("glob", "*")
        found = (name for name in self._rack.names if fnmatchcase(name, glob))
        limit = _number(request, "limit", len(self._rack.names))
        return list(islice(found, limit))

    async def _values(self, request: Request) -> list[ValueResult]:
        async with Shown(self._hub, _several(request, MOST_PVS)) as pvs:
            return [ValueResult(*_value(pv)) for pv in pvs]

    async def _pv(self, request: Request) -> PvResult:
        name = request.path_params["name"]
        record = name.partition(".")[0]
        async with Shown(self._hub, [name, f"{record}.DESC", f"{record}.RTYP"]) as (pv, desc, rtyp):
            if pv.update is None:
                raise ApiError(404, f"{name} is not connected: no server answers for this name")
            known = pv.metadata
            return PvResult(
                *_value(pv),
                type=value.vtype(pv.state),
                unit=known.unit,
                precision=known.precision,
                display=_limits(known.display),
                warning=_limits(known.warning),
                alarm=_limits(known.alarm),
                labels=list(known.words),
                description=_text(desc),
                record_type=_text(rtyp),
                writable=pv.state.writable,
                remedy=self._advice.remedy(record),
            )

    async def _alarms_(self, request: Request) -> AlarmsResult:
        current = self._alarms.current()
        return AlarmsResult(
            self._rack.connected and self._alarms.known,
            [self._alarm(each) for each in current],
        )

    def _alarm(self, alarm: Alarm) -> AlarmResult:
        cause, remedy = self._advice.of(alarm.pv, alarm.message)
        return AlarmResult(**vars(alarm), cause=cause, remedy=remedy)

    async def _history(self, request: Request) -> HistoryResult:
        if self._database is None:
            raise ApiError(404, "there is no history: this rack has no archive")
        pvs = _several(request, history.MOST_PVS)
        points = min(max(_number(request, "points", 1000), 1), history.MOST_POINTS)
        since, until = (request.query_params.get(key, "") for key in ("since", "until"))
        async with self._reading:
            try:
                return await run_in_threadpool(history.history, self._database, pvs, since, until, points)
            except HistoryError as error:
                away = isinstance(error.__cause__, StoreError)
                raise ApiError(503 if away else 400, str(error)) from None


def _several(request: Request, most: int) -> list[str]:
    pvs = request.query_params.getlist("pv")
    if not 0 < len(pvs) <= most:
        raise ApiError(400, f"give 1 to {most} PVs: ?pv=A&pv=B")
    return pvs


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ApiError(400, f"{name} is {text[:20]!r}; a whole number is wanted")
    return int(text)


def _value(pv: Pv) -> tuple[str, Any, str | None, str, str, float | None]:
    update = pv.now
    if update is None:
        return pv.name, None, None, value.UNDEFINED, "DISCONNECTED", None
    found: Any = list(unpack(update.value)) if isinstance(update.value, bytes) else update.value
    text = None
    if pv.state.native == dbr.ENUM and isinstance(found, int):
        text = pv.metadata.words[found] if found < len(pv.metadata.words) else str(found)
    if isinstance(found, list):
        found = [each if math.isfinite(each) else None for each in found]
    elif isinstance(found, float) and not math.isfinite(found):
        found = None
    return pv.name, found, text, pv.severity, update.status, update.stamp_ns / 1e9


def _limits(given: Range) -> Limits:
    return Limits(*given)


def _text(pv: Pv) -> str:
    """Return a text, or the word of a state."""
    _, found, text, *_ = _value(pv)
    return text or (found if isinstance(found, str) else "")
