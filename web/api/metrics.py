"""What Prometheus reads: the values of the instruments themselves, the alarms, the web server's own load."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from web.api.shown import Shown
from web.live.hub import Hub, HubError
from web.live.pv import Pv
from web.live.value import SEVERITIES, UNDEFINED
from web.rack.alarms import Alarms
from web.rack.rack import Rack

# PVs of one request.
MOST_PVS = 20_000
_NUMBERS = {severity: number for number, severity in enumerate((*SEVERITIES, UNDEFINED))}
_LABELS = ("pv", "instrument")


class Metrics:
    """The answer to a scrape, in the text format of Prometheus or that of OpenMetrics."""

    def __init__(self, hub: Hub, rack: Rack, alarms: Alarms) -> None:
        self._hub = hub
        self._rack = rack
        self._alarms = alarms
        self._own = CollectorRegistry()
        ProcessCollector(namespace="rackioc_web", registry=self._own)

    def route(self) -> Route:
        """Return the route."""
        return Route("/metrics", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        try:
            async with Shown(self._hub, self._names(request.query_params.getlist("pv"))) as pvs:
                page: bytes = encode(_Families([*self._own.collect(), *self._rack_(), *self._pvs(pvs)]))
        except HubError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(page, media_type=kind)

    def _names(self, globs: Sequence[str]) -> list[str]:
        """Return the PVs of the instruments themselves, which are watched for their alarms, and those of globs."""
        own = [f"{each.prefix}{point}" for each in self._rack.instruments for point in each.points]
        asked = (name for name in self._rack.names if any(fnmatchcase(name, glob) for glob in globs))
        return list(islice(dict.fromkeys([*own, *asked]), MOST_PVS))

    def _rack_(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("rackioc_up", "1 while the IOC answers", value=int(self._rack.connected))
        if not self._alarms.known:
            return
        alarms = GaugeMetricFamily("rackioc_alarms", "PVs in alarm", labels=["severity"])
        count = Counter(alarm.severity for alarm in self._alarms.current())
        for severity in (*SEVERITIES[1:], UNDEFINED):
            alarms.add_metric([severity], count[severity])
        yield alarms

    def _pvs(self, pvs: Sequence[Pv]) -> Iterator[Metric]:
        severities = GaugeMetricFamily(
            "rackioc_pv_severity", "0 none, 1 MINOR, 2 MAJOR, 3 INVALID, 4 not connected", labels=_LABELS
        )
        values = GaugeMetricFamily(
            "rackioc_pv", "value; none while it is INVALID or not connected", labels=(*_LABELS, "unit")
        )
        for pv in pvs:
            instrument = self._rack.instrument(pv.name)
            labels = [pv.name, instrument.name if instrument else ""]
            number = _number(pv)
            if number is not None:
                values.add_metric([*labels, pv.metadata.unit], number)
            severities.add_metric(labels, _NUMBERS[pv.severity])
        yield from (values, severities)


class _Families:
    """What an encoder takes for a registry."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _number(pv: Pv) -> float | None:
    """Return the value of a PV if it is a number, and true."""
    value = pv.now.value if pv.now else None
    if not isinstance(value, int | float) or not math.isfinite(value) or pv.severity == SEVERITIES[3]:
        return None
    return float(value)
