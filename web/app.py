"""The addresses of the web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from web.access.access import Access
from web.access.logins import Logins
from web.access.middleware import Headers, View
from web.api import login, openapi
from web.api.endpoints import Api
from web.api.metrics import Metrics
from web.live.door import Caution, Door
from web.live.hub import Hub
from web.live.pvws import WebSocket
from web.page import page
from web.rack.advice import Advice, Remedy
from web.rack.alarms import Alarms
from web.rack.rack import Rack
from web.retrieval.answers import Archive, Readers
from web.retrieval.catalogue import Catalogue
from web.retrieval.data import Data
from web.retrieval.names import Names
from web.settings import WebSettings

# Pages of other sites may read the archive, as those of the Archiver Appliance may; there are no cookies in it.
_CORS = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"])


@dataclass(frozen=True, kw_only=True)
class Served:
    """What the web server shows.

    prefix           begins the names of the IOC's PVs
    pv_list          the PV that holds the names of all records
    safe_list        the PV that holds which values of which records make things safe
    instrument_list  the PV that holds the instruments with their drivers
    database         the URL of the archive; None without one
    kinds            the instruments until that PV has told them: name -> driver
    words            status bit of a channel -> its meaning
    caution          says which puts ask for a confirmation, of those to records that are not in the safe list
    remedy           says what to do about a point that is in alarm
    """

    settings: WebSettings
    prefix: str
    pv_list: str
    safe_list: str
    instrument_list: str
    database: str | None
    kinds: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    caution: Caution = lambda record, state: ""
    remedy: Remedy = lambda kind, prefix, point: ""


def application(served: Served) -> Starlette:
    """Return the application that answers requests. Raises LoginsError."""
    settings = served.settings
    rack = Rack(served.prefix, served.kinds, served.pv_list, served.safe_list, served.instrument_list)
    hub = Hub(rack.is_known)
    logins = Logins(Path(settings.logins) if settings.logins else None)
    access = Access(logins, puts=settings.puts == "on", open_view=settings.view == "open")
    alarms = Alarms(rack, hub)
    readers = Readers()

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(hub.run())
        await asyncio.sleep(0)  # for its thread to begin
        rack.begin(hub)
        alarms.begin()
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        readers.close()

    return Starlette(
        routes=[
            Route("/ping", _ping),
            *_retrieval(served.database, readers),
            *_live(hub, access, rack, served),
            *_api(hub, access, rack, alarms, served),
            *page.routes(),
        ],
        middleware=[Middleware(Headers), Middleware(View, access=access)],
        exception_handlers={ClientDisconnect: _given_up},
        lifespan=living,
    )


def _retrieval(database: str | None, readers: Readers) -> list[BaseRoute]:
    """Return the addresses of the archive, which are those of the Archiver Appliance."""
    if database is None:
        return []
    archive = Archive(database, Names(database), readers)
    made = (each(archive).routes() for each in (Data, Catalogue))
    sentences = Middleware(ExceptionMiddleware, handlers={HTTPException: _refused})
    routes = [Route("/ping", _ping), *chain.from_iterable(made)]
    return [Mount("/retrieval", routes=routes, middleware=[_CORS, sentences])]


def _live(hub: Hub, access: Access, rack: Rack, served: Served) -> list[BaseRoute]:
    """Return the addresses of live values, which are those of PVWS."""
    door = Door(hub, access, rack, served.caution)
    socket = WebSocket(hub, access.visitor, access.may_see, lambda visitor: not access.refusal(visitor), door.put)
    begun = datetime.now(UTC).isoformat(" ", "seconds")

    async def info(request: Request) -> Response:
        return JSONResponse({"start_time": begun}, headers={"Access-Control-Allow-Origin": "*"})

    return [WebSocketRoute("/pvws/pv", socket), Route("/pvws/info", info)]


def _api(hub: Hub, access: Access, rack: Rack, alarms: Alarms, served: Served) -> list[BaseRoute]:
    endpoints = Api(hub, rack, alarms, Advice(rack, served.remedy), served.database, served.words).endpoints()
    description = openapi.document(endpoints)

    async def describe(request: Request) -> Response:
        return JSONResponse(description)

    return [
        Route("/api/openapi.json", describe),
        *login.routes(access),
        *(each.route() for each in endpoints),
        Metrics(hub, rack, alarms).route(),
    ]


async def _ping(request: Request) -> Response:
    return PlainTextResponse("Pong\n")


async def _given_up(request: Request, error: Exception) -> Response:
    """Return an answer to who has not sent all of a body: a traceback of each would fill the log."""
    return PlainTextResponse("the body did not come\n", 408)


async def _refused(request: Request, error: Exception) -> Response:
    """Return a sentence as a text: nothing of what was asked for is taken for a page."""
    assert isinstance(error, HTTPException)
    headers = {**(error.headers or {}), "X-Content-Type-Options": "nosniff"}
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)
