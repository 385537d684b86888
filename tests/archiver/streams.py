"""Random streams of what may happen to some PVs and their archiver, into the recording half and into a model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from archiver.ca.listener import PvUpdate
from archiver.history.query import MetadataHistory
from archiver.recording.previous_run import End, end_previous_run
from archiver.recording.queue import Queue
from archiver.recording.spool import Leftover, Spool
from archiver.recording.timeline import FUTURE_NS, Timeline
from archiver.recording.track import Rule, Track
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Metadata, Value, is_gap
from archiver.settings import Policy
from archiver.storage.database import open_reader, open_store
from archiver.storage.owner import ON_ITS_WAY_NS
from archiver.storage.store import Store, StoreError
from tests.archiver.model import Model, Shown, after, shown

S = 10**9
BEGIN_NS = 1_800_000_000 * S
END_NS = 2**63 - 1
UNITS = ("V", "kV", "mV", "uA")
WORDS = (("Off", "On"), ("Off", "On", "Trip"), ("Ready",))
KINDS = ("double", "integer", "state", "text")


class Clocks:
    """The time of the archiver, in the place of ``time``; the IOC's clock beside it. Either may be set."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS
        self.archiver_ns = 0
        self.ioc_ns = 0

    def monotonic(self) -> float:
        return self.now_ns / S

    def time(self) -> float:
        return self.time_ns() / S

    def time_ns(self) -> int:
        return self.now_ns + self.archiver_ns

    def stamp_ns(self) -> int:
        return self.now_ns + self.ioc_ns


class FlakyStore:
    """A store whose database is away now and then, at its worst after a commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = ""
        self.alive_ns = 0

    def live(self, time_ns: int) -> None:
        if self.away:
            raise StoreError("away")
        self.alive_ns = time_ns
        self._store.live(time_ns)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._store, name)

        def call(*args: Any, **keys: Any) -> Any:
            if self.away == "before":
                raise StoreError("away")
            result = method(*args, **keys)
            if self.away:
                raise StoreError("away")
            return result

        return call


class Source:
    """A PV as its IOC has it."""

    def __init__(self, random: Random, name: str, clocks: Clocks) -> None:
        self._random, self._clocks = random, clocks
        self.name = name
        self.kind = ""
        self.metadata: Metadata | None = None
        self.change()
        self.value = PvUpdate(clocks.stamp_ns(), self.any_value(), 0, "NO_ALARM")

    def change(self) -> None:
        """Become a PV of another type, or with other words or another unit."""
        self.kind = self._random.choice(KINDS)
        if self.kind == "text":
            self.metadata = None
        elif self.kind == "state":
            self.metadata = Metadata(words=self._random.choice(WORDS))
        else:
            self.metadata = Metadata(unit=self._random.choice(UNITS))

    def any_value(self) -> Value:
        number = self._random.randrange(4)
        if self.kind == "double":
            return self._random.choice((number / 2, float("nan")))
        return f"text {number}" if self.kind == "text" else number

    def update(self) -> PvUpdate:
        """Return a value; its stamp is nearly always the IOC's time."""
        clocks, random = self._clocks, self._random
        stamps = (
            lambda: clocks.stamp_ns() // S * S,
            lambda: self.value.stamp_ns,
            lambda: self.value.stamp_ns + random.randrange(3),
            lambda: 631_152_000 * S,
            lambda: clocks.stamp_ns() + random.choice((4 * 60, 3600)) * S,
            lambda: clocks.stamp_ns() - random.choice((5, 4000)) * S,
        )
        stamp_ns = random.choice(stamps)() if random.random() < 0.3 else clocks.stamp_ns()
        severity = random.choice((0, 0, 2))
        self.value = PvUpdate(stamp_ns, self.any_value(), severity, "HIGH" if severity else "NO_ALARM")
        return self.value


class Stream:
    """One stream: ``step`` makes the next thing happen; ``check`` compares what can be read with the model."""

    def __init__(self, seed: int, database: str, directory: Path, clocks: Clocks) -> None:
        self._random = Random(seed)
        self._clocks = clocks
        self._database = database
        self._spool_file = directory / f"{seed}.spool"
        clocks.__init__()  # type: ignore[misc]
        names = [f"S{seed}:{letter}" for letter in "ABC"]
        self._sources = {name: Source(self._random, name, clocks) for name in names}
        self.models = {name: Model(name) for name in names}
        self._connected: set[str] = set()
        self._store = FlakyStore(open_store(database, f"stream {seed}"))
        self.seen: Counter[str] = Counter()
        self._start()

    def step(self) -> None:
        """Let one thing happen, and the time go on a little."""
        self._clocks.now_ns += self._random.choice((0, 1, 999, 10**6, S // 3)) + self._random.randrange(1000)
        name = self._random.choice(list(self._sources))
        happens = self._random.choices(
            (self._value, self._property, self._connection, self._wait, self._set_clock, self._commit, self._lose,
             self._restart, self._swap),
            (40, 6, 10, 14, 4, 14, 3, 3, 4),
        )[0]  # fmt: skip
        self.seen[happens.__name__] += 1
        happens(name)

    def close(self) -> None:
        self._store.away = ""
        self._cycle()
        while self._spool.rows:
            self._cycle()
        self._spool.close()
        self._store._store.close()

    def check_now(self) -> None:
        """Compare what is in force now: a value with a stamp that is still to come is not yet, all others are."""
        self._go_on(2)
        self._commit("")
        if self._store.away or self._spool.rows:
            return
        now_ns = self._clocks.time_ns()
        for name, model in self.models.items():
            expected = model.in_force(now_ns)
            if expected is not None and expected.ahead:
                continue
            same(name, self._read(name, now_ns, now_ns), [expected.shown()] if expected else [])
            newest = model.newest
            looked_at = expected is None or not expected.over
            if looked_at and newest is not None and newest.stamp_ns <= now_ns and model._stamped_ns() <= now_ns:
                assert expected is not None, name
                assert repr(tuple(expected.sample[2:])) == repr(tuple(newest[1:]))

    def check(self) -> None:
        """Compare all rows, and so what is in force at every instant, and what is asked for at some."""
        for name, model in self.models.items():
            expected = sorted(row.shown() for row in model.rows)
            wrong = {row.shown()[0] for row in model.rows if row.ahead}  # nobody asks for the units of the future
            found = self._read(name, 0, END_NS)
            same(name, [(row[0], "", "", "", "") for row in found], [(row[0], "", "", "", "") for row in expected])
            same(name, *([row for row in rows if row[0] not in wrong] for rows in (found, expected)))
            for _ in range(5):
                time_ns = self._clocks.now_ns + self._random.randrange(-5000 * S, 5000 * S)
                in_force = model.in_force(time_ns)
                if in_force is not None and in_force.ahead:
                    continue
                same(name, self._read(name, time_ns, time_ns), [in_force.shown()] if in_force else [])

    def _read(self, name: str, since_ns: int, until_ns: int) -> list[Shown]:
        with closing(open_reader(self._database)) as reader:
            if name not in reader.names():
                return []
            about = MetadataHistory({name: reader.metadata(name)})
            return [shown(each, about.at(name, each.time_ns)) for each in reader.samples([name], since_ns, until_ns)]

    def _value(self, name: str) -> None:
        source = self._sources[name]
        update = source.value if self._random.random() < 0.1 else source.update()
        if name in self._connected:
            self._tracks[name].update(update)
            self.models[name].update(update, self._clocks.time_ns())

    def _property(self, name: str) -> None:
        source = self._sources[name]
        if source.metadata is None:
            return
        words = bool(source.metadata.words)
        source.metadata = (
            Metadata(words=self._random.choice(WORDS)) if words else Metadata(self._random.choice(UNITS))
        )
        if name in self._connected:
            self._describe(name)
        if self._random.random() < 0.5:
            self._value(name)

    def _connection(self, name: str) -> None:
        if name in self._connected:
            self._connected.discard(name)
            self._tracks[name].disconnected()
            self.models[name].disconnect(self._clocks.time_ns())
            return
        self._connected.add(name)
        self._tracks[name].connected()
        self.models[name].connect(self._clocks.time_ns())
        self._clocks.now_ns += self._random.randrange(10**7)
        self._describe(name)
        update = self._sources[name].value
        self._tracks[name].update(update)
        self.models[name].update(update, self._clocks.time_ns())

    def _describe(self, name: str) -> None:
        if (metadata := self._sources[name].metadata) is not None:
            self._tracks[name].metadata_changed(metadata)
            self.models[name].describe(metadata)

    def _swap(self, name: str) -> None:
        if name in self._connected:
            self._connection(name)
        self._sources[name].change()
        self._sources[name].update()
        self._connection(name)

    def _wait(self, _: str) -> None:
        self._go_on(self._random.choice((2, 5, 70, 1800, 3500)))

    def _go_on(self, seconds: int) -> None:
        self._clocks.now_ns += seconds * S
        for name, track in self._tracks.items():
            track.tick(self._clocks.monotonic())
            self.models[name].wait(self._clocks.time_ns())

    def _set_clock(self, _: str) -> None:
        """Set clocks; the archiver begins anew when its own is set back, unless that has not been seen yet."""
        before_ns = self._clocks.archiver_ns
        self._set_any()
        if before_ns - self._clocks.archiver_ns > 10 * S and self._random.random() < 0.8:
            self._begin_anew(before_ns - self._clocks.archiver_ns)

    def _set_any(self) -> None:
        """Set one clock, or both, as those of one computer are."""
        offset_ns = self._random.choice((0, 0, 2, -2, 60, -60, 3600, -3600)) * S
        which = self._random.choice(("archiver", "IOC", "both"))
        if which != "IOC":
            self._clocks.archiver_ns = offset_ns
        if which != "archiver":
            self._clocks.ioc_ns = offset_ns

    def _commit(self, _: str) -> None:
        self._cycle()
        for model in self.models.values():
            model.safe = len(model.rows)

    def _lose(self, _: str) -> None:
        self._store.away = self._random.choice(("", "before", "after"))

    def _cycle(self) -> None:
        self._writer.cycle(time.monotonic() + self._random.choice((0, 0.05)))

    def _restart(self, _: str) -> None:
        """The database is there when the next run begins; what waits in the spool may still wait."""
        if self._random.random() < 0.5:
            self._end()
        else:  # killed
            for model in self.models.values():
                del model.rows[model.safe :]
        self._store.away = ""
        self._spool.close()
        self._connected.clear()
        self._clocks.now_ns += self._random.choice((1, 30, 5000)) * S
        if self._random.random() < 0.3:
            self._set_any()
        self._start()

    def _end(self) -> None:
        now_ns = self._clocks.time_ns()
        for name, track in self._tracks.items():
            track.end(now_ns)
            self.models[name].end(now_ns)
        self._commit("")

    def _begin_anew(self, back_ns: int) -> None:
        """End, begin in the same second, and connect again."""
        connected = sorted(self._connected)
        self._end()
        self._store.away = ""
        self._spool.close()
        self._connected.clear()
        self._clocks.now_ns += S // 10
        self._start(back_ns)
        for name in connected:
            self._connection(name)

    def _start(self, back_ns: int = 0) -> None:
        clocks = self._clocks
        began_ns = clocks.time_ns()
        self._queue, self._spool = Queue(), Spool(self._spool_file, 1e9, 0)
        self._spool.run_ns = began_ns
        spooled_ns = max(map(_alive_ns, self._spool.leftover()), default=0)
        ends = end_previous_run(self._store, self._spool, began_ns, set_back=back_ns > 0)
        self._writer = Writer(self._queue, self._spool, Upkeep(lambda pv: Policy()), lambda: self._store)
        self._writer._known_ns = clocks.time_ns  # type: ignore[method-assign]
        rule, rejected = Rule.of(Policy(keep_alive="1w")), Counter[str]()
        ahead_ns = began_ns + back_ns if back_ns else 0
        self._tracks = {
            name: Track(name, rule, self._queue, rejected, Timeline.after(*ends.get(name, End()), ahead_ns=ahead_ns))
            for name in self.models
        }
        self._begin_models(began_ns, spooled_ns, 0 if back_ns else FUTURE_NS)
        for model in self.models.values():
            model.ahead_ns = ahead_ns

    def _begin_models(self, began_ns: int, spooled_ns: int, future_ns: int) -> None:
        marks: dict[str, list[int]] = {name: [] for name in self.models}
        newest = {name: max((row.sample for row in model.rows), key=lambda s: s.time_ns) for name, model in
                  self.models.items() if model.rows}  # fmt: skip
        ahead = [name for name, sample in newest.items() if sample.time_ns > began_ns + future_ns]
        for name in ahead:
            in_force = self.models[name].in_force(began_ns)
            if in_force is not None and not is_gap(in_force.sample):
                marks[name].append(after(began_ns))
        known = [*(s.time_ns for s in newest.values()), *(m for each in marks.values() for m in each)]
        end_ns = min(max(known, default=0), began_ns)
        if 0 < self._store.alive_ns < began_ns:
            end_ns = max(self._store.alive_ns, min(spooled_ns, began_ns))
        for name, sample in newest.items():
            if not is_gap(sample):
                marks[name].append(after(max(end_ns, sample.time_ns)))
        for name, model in self.models.items():
            model.begin(marks[name], began_ns)


def _alive_ns(spooled: Leftover) -> int:
    """Return when an archiver that spooled a batch knew all for certain, if no clock was set back."""
    newest_ns = max((sample.time_ns for sample in spooled.batch.samples), default=0)
    return min(spooled.spooled_ns, newest_ns) - ON_ITS_WAY_NS


def same(name: str, found: list[Shown], expected: list[Shown]) -> None:
    """Fail with the rows that differ."""
    more = [row for row in found if row not in expected]
    missing = [row for row in expected if row not in found]
    assert found == expected, f"{name}: read {more}, but expected {missing}; all of it:\n" + "\n".join(
        map(str, expected)
    )
