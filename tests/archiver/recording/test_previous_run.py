"""What a run does about the rows of the one before, which was killed, until it has values of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from archiver.ca.listener import PvUpdate
from archiver.recording.batch import Batch
from archiver.recording.previous_run import End, end_previous_run
from archiver.recording.spool import Spool
from archiver.recording.timeline import Timeline
from archiver.recording.track import Rule, Track
from archiver.sample import Gap, Sample, gap_marker
from archiver.settings import Policy
from archiver.storage.database import open_store
from archiver.storage.owner import ON_ITS_WAY_NS
from archiver.storage.store import Store
from tests.archiver.model import after
from tests.archiver.streams import Clocks

S = 10**9
US = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/rack.sqlite", "rack")) as store:
        yield store


def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "rack.spool", 1e9, 0)


class Rows(list[Sample]):
    """What a track adds."""

    add = list.append

    def add_metadata(self, *_: object) -> None:
        """Do nothing: there are none here."""


# Seconds before and after the begin of the run: an IOC that is behind, on time, ahead, or whose clock was set
STAMPS = [(-300.0, -299.0), (-2.0, -1.0), (-1.0, 199.0), (198.0, 199.0), (199.0,), (3600.0, 3601.0)]


@pytest.mark.parametrize("spooled", [False, True], ids=["stored", "spooled"])
@pytest.mark.parametrize("ticks", [0, 1, 30])
@pytest.mark.parametrize("stamps", STAMPS)
def test_a_killed_run_is_marked_once_however_late_the_first_value_comes(
    stamps: Sequence[float], ticks: int, spooled: bool, store: Store, tmp_path: Path, clocks: Clocks
) -> None:
    began_ns = clocks.time_ns()
    rows = [Sample("A", began_ns + int(second * S), float(n), 0, "NO_ALARM") for n, second in enumerate(stamps)]
    if spooled:
        with closing(spool(tmp_path)) as killed:
            killed.run_ns = began_ns - 60 * S
            killed.append(Batch(rows))
    else:
        store.add(rows)
    with closing(spool(tmp_path)) as present:
        end = end_previous_run(store, present, began_ns).get("A", End())
    (mark,) = store.latest("A", rows[-1].time_ns + US, 10)
    assert mark == gap_marker("A", rows[-1].time_ns + US, Gap.ARCHIVE_OFF)
    added = Rows()
    track = Track("A", Rule.of(Policy()), added, Counter(), Timeline.after(*end))
    for _ in range(ticks):
        track.tick(clocks.monotonic())
        clocks.now_ns += S
    assert added == []
    track.connected()
    value = PvUpdate(clocks.time_ns() + S, 7.0, 0, "NO_ALARM")
    track.update(value)
    assert [(row.time_ns, row.value) for row in added] == [(value.stamp_ns, 7.0)]


@pytest.mark.parametrize("spooled", [False, True], ids=["stored", "spooled"])
def test_an_ioc_whose_clock_is_ahead_does_not_lengthen_what_is_known_of_others(
    spooled: bool, tmp_path: Path, clocks: Clocks
) -> None:
    url, killed_ns = f"sqlite:///{tmp_path}/rack.sqlite", clocks.time_ns()
    ahead = Sample("A", killed_ns + 60 * S, 3.0, 0, "NO_ALARM")
    with closing(open_store(url, "rack")) as store:
        store.add([Sample(pv, killed_ns - 9 * S, 1.0, 0, "NO_ALARM") for pv in "AB"])
        store.live(killed_ns - 8 * S if spooled else killed_ns)
        if spooled:
            with closing(spool(tmp_path)) as killed:
                killed.append(Batch([ahead]))
        else:
            store.add([ahead])
    clocks.now_ns += 120 * S
    with closing(open_store(url, "rack")) as store, closing(spool(tmp_path)) as present:
        end_previous_run(store, present, clocks.time_ns())
        *_, of_a = store.latest("A", clocks.time_ns(), 10)
        *_, of_b = store.latest("B", clocks.time_ns(), 10)
    assert of_a == gap_marker("A", ahead.time_ns + US, Gap.ARCHIVE_OFF)
    assert of_b.value == Gap.ARCHIVE_OFF
    assert of_b.time_ns == after(killed_ns - (ON_ITS_WAY_NS if spooled else 0))
