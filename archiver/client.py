"""Channel Access: one libca subscription a PV, and from its updates the samples to store."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Protocol

import aioca

from archiver.sample import STATUSES, Gap, Metadata, Range, Sample, Value
from archiver.timeline import Refused, Timeline

EPICS_EPOCH = 631_152_000  # seconds from 1970 to 1990, which is 0 for EPICS
UDF = 17  # alarm status (epics-base, alarm.h)
TIMEOUT = 10.0
RETRY_PERIOD = 2.0

log = logging.getLogger(__name__)


class Sink(Protocol):
    def add(self, sample: Sample) -> None: ...

    def describe(self, pv: str, metadata: Metadata) -> None: ...


class Client:
    """Follows PVs, from the time they are named until `close`."""

    def __init__(self, sink: Sink, newest: Iterable[Sample]) -> None:
        self._sink = sink
        self._newest = {sample.pv: sample.time_ns for sample in newest}
        self._channels: dict[str, Channel] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reported = ""
        self._watch: Callable[[], aioca.Subscription]
        self._list: aioca.Subscription | None = None
        self.refused: Counter[str] = Counter()
        # By its default libca comes to look every 5 min only for an IOC that has long been away; this is its least.
        os.environ.setdefault("EPICS_CA_MAX_SEARCH_PERIOD", "60")

    def follow(self, pvs: Iterable[str]) -> None:
        for pv in pvs:
            if pv not in self._channels:
                channel = Channel(Timeline(pv, self._newest.get(pv, 0)), self._sink, self.refused)
                self._channels[pv] = channel
                self._tasks.append(asyncio.create_task(channel.follow()))
                self._tasks[-1].add_done_callback(_report_crash)

    def watch_list(self, pv: str, names: Callable[[list[str]], None]) -> None:
        """Call `names` with the lines of a long-string PV, now and whenever it changes."""

        def update(value: Any) -> None:
            if value.ok:
                names(value.split())
            else:
                log.warning("%s: not found yet: the PVs that are given by globs are not archived", pv)

        def watch() -> aioca.Subscription:
            return aioca.camonitor(pv, update, datatype=aioca.DBR_CHAR_STR, connect_timeout=TIMEOUT)

        self._watch, self._list = watch, watch()

    def check(self) -> None:
        """Now and then: notice lost subscriptions, and say how many PVs are connected if that has changed."""
        if self._list is not None and self._list.state == aioca.Subscription.CLOSED:
            self._list = self._watch()  # aioca closes it for any error of the server
        for channel in self._channels.values():
            channel.check()
        connected = sum(channel.connected for channel in self._channels.values())
        report = f"{connected} of {len(self._channels)} PVs connected"
        if report != self._reported:
            log.info(report)
            self._reported = report

    async def close(self) -> None:
        """Disconnect, and mark every PV that was seen: not archived from now on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        aioca.purge_channel_caches()
        for channel in self._channels.values():
            channel.end()
        for reason, count in self.refused.items():
            log.warning("%d samples were refused for %s", count, reason)


class Channel:
    """One PV: connected and reconnected by libca, subscribed anew on each connection.

    A new subscription asks for the type that the PV has now (an IOC may come back with another one), and whatever it
    brings after its first value was posted after the connection.
    """

    def __init__(self, timeline: Timeline, sink: Sink, refused: Counter[str]) -> None:
        self._pv = timeline.pv
        self._timeline = timeline
        self._sink = sink
        self._refused = refused
        self._warned: set[str] = set()
        self._connected_ns = 0
        self._disconnected = asyncio.Event()
        self._subscription: aioca.Subscription | None = None
        self.connected = False

    async def follow(self) -> None:
        while True:
            await aioca.connect(self._pv, timeout=None)
            value = await aioca.caget(self._pv, format=aioca.FORMAT_CTRL, count=1, timeout=TIMEOUT, throw=False)
            if not value.ok:  # disconnected again, not readable for us, or too slow
                self._warn(f"cannot be read, trying on ({value})")
                await asyncio.sleep(RETRY_PERIOD)
                continue
            self.connected = True
            if value.element_count != 1:
                self._warn(f"an array of {value.element_count} elements; arrays are not archived")
                return
            self._describe(value)
            await self._subscribe_until_disconnected()

    async def _subscribe_until_disconnected(self) -> None:
        self._connected_ns = time.time_ns()
        self._disconnected.clear()
        self._subscription = aioca.camonitor(
            self._pv,
            self._update,
            events=aioca.DBE_LOG | aioca.DBE_ALARM,
            format=aioca.FORMAT_TIME,
            all_updates=True,
            notify_disconnect=True,
        )
        await self._disconnected.wait()
        self._subscription.close()
        self._subscription = None

    def check(self) -> None:
        """aioca closes a subscription for any error that the server sends with an update: then subscribe anew."""
        if self._subscription and self._subscription.state == aioca.Subscription.CLOSED:
            self._lose()

    def end(self) -> None:
        if self._connected_ns:
            self._sink.add(self._timeline.mark(Gap.ARCHIVE_OFF, time.time_ns()))

    def _describe(self, value: Any) -> None:
        if (metadata := _metadata(value)) is not None:
            self._sink.describe(self._pv, metadata)

    def _update(self, value: Any) -> None:
        if not value.ok:
            self._lose()
            return
        if value.raw_stamp[0] <= EPICS_EPOCH and value.status == UDF:
            return  # a record that was never processed has nothing to store
        try:
            self._sink.add(self._timeline.admit(_sample(self._pv, value), time.time_ns(), self._connected_ns))
        except Refused as refused:
            self._refused[str(refused)] += 1
            self._warn(f"refusing {refused}")

    def _lose(self) -> None:
        self.connected = False
        self._disconnected.set()
        if not self._timeline.in_gap:
            self._sink.add(self._timeline.mark(Gap.DISCONNECTED, time.time_ns()))

    def _warn(self, warning: str) -> None:
        """Once: what is wrong with one sample is wrong with the thousands that follow."""
        if warning not in self._warned:
            self._warned.add(warning)
            log.warning("%s: %s", self._pv, warning)


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a PV is no longer archived, by a fault in the archiver", exc_info=error)


def _sample(pv: str, value: Any) -> Sample:
    seconds, nanoseconds = value.raw_stamp
    return Sample(pv, seconds * 10**9 + nanoseconds, _plain(value), value.severity, _status(value.status))


def _plain(value: Any) -> Value:
    """The bare value: aioca's carry their attributes with them, at ten times the memory."""
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) else str(value)


def _status(number: int) -> str:
    return STATUSES[number] if 0 <= number < len(STATUSES) else str(number)


def _metadata(value: Any) -> Metadata | None:
    """From a control structure; Channel Access has none for text."""
    if isinstance(value, str):
        return None
    if value.datatype == aioca.DBR_ENUM:
        return Metadata(words=tuple(value.enums))
    return Metadata(
        unit=value.units,
        precision=getattr(value, "precision", 0),
        display=_range(value.lower_disp_limit, value.upper_disp_limit),
        warning=_range(value.lower_warning_limit, value.upper_warning_limit),
        alarm=_range(value.lower_alarm_limit, value.upper_alarm_limit),
    )


def _range(low: float, high: float) -> Range:
    """A limit that is not set is NaN on the wire."""
    return (low if isfinite(low) else None, high if isfinite(high) else None)
