"""The addresses under ``/retrieval/data``: samples of PVs, in several formats."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.sample import Metadata
from web.retrieval.answers import Archive
from web.retrieval.payload import Piece
from web.retrieval.pieces import pieces
from web.retrieval.protobuf import ProtobufFormat
from web.retrieval.request import MOST, BadRequest, Span, Wanted, moment, plain, span, wanted
from web.retrieval.source import Source
from web.retrieval.texts import CsvFormat, JsonFormat, PlotFormat, TextFormat, shown

_SECOND_NS = 10**9
# Samples that are written at once, at most
_PART = 20_000
# Bytes of the list of names that may be sent, at most; seconds in which it has to come
_BODY, _BODY_S = 1 << 20, 10.0
# Names in it, at most
_MOST_NAMES = 10 * MOST
_TOO_MANY = f"the list has too many names: ask for {_MOST_NAMES} PVs at a time at most"


class Format(Protocol):
    """A format of samples: bytes around all of them, and around those of each PV."""

    media_type: str

    def begin(self) -> bytes:
        """Return what comes before all PVs."""

    def pv(self, name: str, metadata: Metadata) -> bytes:
        """Return what comes before the samples of a PV."""

    def piece(self, name: str, piece: Piece) -> Iterator[bytes]:
        """Yield some samples of a PV."""

    def end(self) -> bytes:
        """Return what comes after all PVs."""


FORMATS: dict[str, Callable[[Span], Format]] = {
    "raw": lambda span: ProtobufFormat(span.since_ns),
    "json": lambda _: JsonFormat(),
    "qw": lambda _: PlotFormat(),
    "csv": lambda _: CsvFormat(),
    "txt": lambda _: TextFormat(),
}
# Those that say which PV a sample is of
_OF_SEVERAL = ("raw", "json", "qw", "txt")


class Data:
    """The addresses, of an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/data/getData.{format}", self._get_data),
            Route("/data/getDataForPVs.{format}", self._get_data_for_pvs),
            Route("/data/getDataAtTime", self._get_data_at_time, methods=["POST"]),
        ]

    async def _get_data(self, request: Request) -> Response:
        found = request.query_params.getlist("pv")
        if len(found) > 1:
            raise HTTPException(400, "'pv' is there more than once: ask for several with getDataForPVs")
        return await self._answer(request, tuple(FORMATS), found)

    async def _get_data_for_pvs(self, request: Request) -> Response:
        return await self._answer(request, _OF_SEVERAL, request.query_params.getlist("pv"))

    async def _answer(self, request: Request, allowed: Sequence[str], pvs: Sequence[str]) -> Response:
        extension = request.path_params["format"]
        if extension not in allowed:
            raise HTTPException(404, f"there is no such format; there are: {', '.join(allowed)}")
        now_ns = time.time_ns()
        try:
            asked = wanted(pvs, request.query_params.get("pp"))
            window = span(request.query_params, now_ns)
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None
        await self._check_known(asked)
        made, readers = FORMATS[extension](window), self._archive.readers
        return await readers.stream(lambda gone: self._bytes(made, asked, window, gone), made.media_type)

    async def _check_known(self, asked: Sequence[Wanted]) -> None:
        known = self._archive.names.known
        unknown = await self._archive.readers.value(lambda: [each.pv for each in asked if not known(each.pv)])
        if unknown:
            raise HTTPException(404, f"not in the archive: {', '.join(unknown[:10])}")

    def _bytes(self, made: Format, asked: Sequence[Wanted], window: Span, gone: threading.Event) -> Iterator[bytes]:
        """Yield the answer; runs in a thread."""
        with self._archive.open() as reader:
            source = Source(reader, time.time_ns(), gone.is_set)
            source.check(asked, window)
            before = made.begin()
            for each in asked:
                begun = False
                for piece in source.pieces(each, window):
                    if not begun:
                        before += made.pv(each.pv, piece.metadata)
                        begun = True
                    for part in _parts(piece):
                        for data in made.piece(each.pv, part):
                            yield before + data
                            before = b""
            yield before + made.end()

    async def _get_data_at_time(self, request: Request) -> Response:
        try:
            window = moment(request.query_params, time.time_ns())
            pvs = await _names_in_body(request)
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None
        found = await self._archive.readers.value(lambda: self._at_time(pvs, window))
        return Response(json.dumps(found), media_type="application/json")

    def _at_time(self, pvs: Sequence[str], window: Span) -> dict[str, Any]:
        """Return what is in force of PVs at the end of the window, if it began in it; runs in a thread."""
        found = {}
        with self._archive.open() as reader:
            for pv in pvs:
                name = plain(pv)
                if not self._archive.names.known(name):
                    continue
                for piece in pieces(reader, name, window.until_ns, window.until_ns, reader.metadata(name)):
                    if len(piece.time_ns) and piece.time_ns[-1] >= window.since_ns:
                        found[pv] = _at(piece.take(slice(-1, None)))
        return found


def _parts(piece: Piece) -> Iterator[Piece]:
    """Yield a piece in parts that are small enough to wait for who reads them."""
    if len(piece.time_ns) <= _PART:
        yield piece
        return
    for begin in range(0, len(piece.time_ns), _PART):
        yield piece.take(slice(begin, begin + _PART))


def _at(piece: Piece) -> dict[str, Any]:
    seconds, nanos = divmod(int(piece.time_ns[0]), _SECOND_NS)
    return {
        "secs": seconds,
        "nanos": nanos,
        "severity": int(piece.severity[0]),
        "status": int(piece.status[0]),
        "val": json.loads(shown(piece)[0]),
        "meta": {"DBRType": piece.kind.dbr_type},
    }


async def _body(request: Request) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > _BODY:
                    raise HTTPException(413, f"the list of names has more than {_BODY:,} bytes: ask in parts")
    except TimeoutError:
        raise HTTPException(408, f"the list of names did not come within {_BODY_S:g} s") from None
    return bytes(data)


async def _names_in_body(request: Request) -> list[str]:
    """Return the names that were sent: a list in JSON, a form with ``pv``, or lines. Raises BadRequest."""
    text = (await _body(request)).decode(errors="replace").strip()
    if text.startswith("["):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRequest('the list of names is not JSON: send ["PV", "PV"]') from None
    elif text.startswith("pv="):
        try:
            values = parse_qs(text, max_num_fields=_MOST_NAMES).get("pv", [])
        except ValueError:
            raise BadRequest(_TOO_MANY) from None
        names = [each for value in values for each in value.split(",")]
    else:
        names = text.replace(",", "\n").split()
    if not all(isinstance(each, str) for each in names):
        raise BadRequest('the list of names has something else than texts in it: send ["PV", "PV"]')
    if len(names) > _MOST_NAMES:
        raise BadRequest(_TOO_MANY)
    return list(names)
