"""The addresses under ``/retrieval/bpl``: which PVs there are, and what is known of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from archiver.sample import END_OF_TIME_NS, Metadata, Range
from web.retrieval.answers import Archive
from web.retrieval.names import of_glob
from web.retrieval.payload import Kind, headers
from web.retrieval.pieces import pieces
from web.retrieval.request import LONGEST, BadRequest, limit, plain

# Names that getMatchingPVs returns if it is not told how many
NAMES = 500


class Catalogue:
    """The addresses, of an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/bpl/getVersion", self._get_version),
            Route("/bpl/getMatchingPVs", self._get_matching_pvs),
            Route("/bpl/searchForPVsRegex", self._search_for_pvs_regex),
            Route("/bpl/areWeArchivingPV", self._are_we_archiving_pv),
            Route("/bpl/getMetadata", self._get_metadata),
        ]

    async def _get_version(self, request: Request) -> Response:
        return _json({"version": f"rackioc {version('rackioc')}"})

    async def _get_matching_pvs(self, request: Request) -> Response:
        glob, regex = (request.query_params.get(name) for name in ("pv", "regex"))
        pattern = of_glob(glob) if glob is not None else regex
        if pattern is None:
            raise HTTPException(404, "'pv' or 'regex' is missing: give a glob, or a regular expression")
        return _json(await self._matching(pattern, request.query_params.get("limit"), NAMES))

    async def _search_for_pvs_regex(self, request: Request) -> Response:
        regex = request.query_params.get("regex")
        if not regex:
            raise HTTPException(404, "'regex' is missing: give a regular expression")
        return PlainTextResponse("".join(f"{name}\n" for name in await self._matching(regex, None, -1)))

    async def _are_we_archiving_pv(self, request: Request) -> Response:
        return _json({"status": str(await self._known(_pv(request))).lower()})

    async def _get_metadata(self, request: Request) -> Response:
        pv = _pv(request)
        if not await self._known(pv):
            raise HTTPException(404, f"not in the archive: {pv}")
        return _json(await self._archive.readers.value(lambda: self._about(pv)))

    async def _known(self, pv: str) -> bool:
        return await self._archive.readers.value(lambda: self._archive.names.known(pv))

    async def _matching(self, pattern: str, text: str | None, usual: int) -> list[str]:
        try:
            most = limit(text, usual)
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None
        make: Callable[[], list[str]] = lambda: self._archive.names.matching(pattern, most)  # noqa: E731 - of a type
        return await self._archive.readers.value(make)

    def _about(self, pv: str) -> dict[str, str]:
        """Return what is known of a PV, as texts; runs in a thread."""
        with self._archive.open() as reader:
            *_, piece = pieces(reader, pv, END_OF_TIME_NS, END_OF_TIME_NS, reader.metadata(pv))
        return {
            "pvName": pv,
            "DBRType": piece.kind.dbr_type,
            "scalar": str(piece.kind is not Kind.WAVEFORM_DOUBLE).lower(),
            "elementCount": str(piece.elements),
            **headers(piece.metadata),
            **_names_of_management(piece.metadata),
        }


def _names_of_management(metadata: Metadata) -> dict[str, str]:
    """Return unit, precision and limits by the names that they have in the Archiver Appliance's own description."""
    limits: dict[str, Range] = {
        "DisplayLimit": metadata.display,
        "WarningLimit": metadata.warning,
        "AlarmLimit": metadata.alarm,
    }
    found = {"units": metadata.unit, "precision": str(float(metadata.precision))}
    for name, (low, high) in limits.items():
        found |= {f"{side}{name}": repr(each) for side, each in (("lower", low), ("upper", high)) if each is not None}
    return found


def _pv(request: Request) -> str:
    pv = request.query_params.get("pv")
    if not pv:
        raise HTTPException(404, "'pv' is missing: name the PV")
    if len(pv) > LONGEST:
        raise HTTPException(400, f"'pv' has {len(pv)} characters: no PV has a name as long as that")
    return plain(pv)


def _json(found: object) -> Response:
    return Response(json.dumps(found), media_type="application/json")
