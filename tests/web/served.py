"""A real web server in a process of its own, and an archive with values of all kinds."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from archiver.history.query import Window, open_query
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.database import open_store
from bench.rig.loopback import free_port
from tests.small_ioc import until
from tests.system.conftest import CRATE, GENERATOR, LOGGER, Ioc, Racks

SECOND = 10**9
# 2024-12-31T23:50:00Z: a year ends ten minutes later
BEGIN = 1_735_689_000 * SECOND
VOLTS = Metadata("V", 3, (0.0, 100.0), (None, 80.0), (-5.0, 90.0))
WORDS = ("Off", "On", "Tripped; reset it")
# Bytes that are escaped are in these: 0x1b, 0x0a and 0x0d
ESCAPED = (1.4e-321, 2.5e-322, 4.9e-323, 13.0, 27.0, 10.0, -1e10)


def rows(pv: str, values: list[Value], step_s: float = 1.0, begin_ns: int = BEGIN) -> list[Sample]:
    """Values with times that have a fraction, each tenth one in alarm."""
    return [
        Sample(pv, begin_ns + int(i * step_s * 1e6) * 1000 + 123_000, value, 1 if i % 10 == 9 else 0,
               "HIGH" if i % 10 == 9 else "NO_ALARM")
        for i, value in enumerate(values)
    ]  # fmt: skip


def samples() -> list[Sample]:
    numbers = random.Random(1)
    doubles: list[Value] = [numbers.gauss(50, 3) for _ in range(1500)]
    broken = rows("T:BROKEN", [numbers.gauss(5, 1) for _ in range(100)], 20.0)
    lost = [broken[i]._replace(severity=3, status="TIMEOUT") for i in range(40, 44)]
    broken[40:44] = lost
    broken[60:70] = [gap_marker("T:BROKEN", broken[60].time_ns, Gap.DISCONNECTED)]
    broken[80:81] = [gap_marker("T:BROKEN", broken[80].time_ns, Gap.ARCHIVE_OFF)]
    states = rows("T:STATE", [i // 7 % 3 for i in range(60)], 17.0)
    states[30:31] = [gap_marker("T:STATE", states[30].time_ns, Gap.DISCONNECTED)]
    counts = rows("T:COUNT", [numbers.randrange(-(2**31), 2**31) for _ in range(60)], 17.0)
    counts[30:31] = [gap_marker("T:COUNT", counts[30].time_ns, Gap.DISCONNECTED)]
    texts = rows("T:TEXT", ["", 'a "b", c', "ü\n\r\x1b", "<script>", "x" * 39] * 4, 31.0)
    texts[9:10] = [gap_marker("T:TEXT", texts[9].time_ns, Gap.DISCONNECTED)]
    arrays = rows("T:ARRAY", [(1.0, math.nan), (), (2.5, 3.5, -4.5)] * 5, 60.0)
    arrays[9:10] = [gap_marker("T:ARRAY", arrays[9].time_ns, Gap.DISCONNECTED)]
    return [
        *rows("T:DOUBLE", doubles),
        *broken,
        *states,
        *counts,
        *texts,
        *arrays,
        *rows("T:ESCAPED", [*ESCAPED * 6, math.nan, math.inf, -math.inf], 33.0),
        *rows("T:ONCE", [7.5]),
        *rows("T:RARE", [float(i) for i in range(30)], 40 * 86_400.0, BEGIN - 900 * 86_400 * SECOND),
        *rows("T:UNIT", [1.0, 2.0, 3.0, 4.0], 100.0),
        *rows("T:BECAME", [1, 2, 1.5, 2.5, "off", 3.5], 100.0),
        *rows("T:MIXED", [1.0, 2.0, "off", 3.0, 4.0], 100.0),
        gap_marker("T:LOST", BEGIN, Gap.DISCONNECTED),
        *rows("T:a;b<>{}[1]", [1.0, 2.0]),
    ]


METADATA = {
    **dict.fromkeys(("T:DOUBLE", "T:BROKEN", "T:ESCAPED", "T:LOST", "T:MIXED"), Dated(0, VOLTS)),
    "T:COUNT": Dated(0, Metadata("PVs")),
    "T:STATE": Dated(0, Metadata(words=WORDS)),
    "T:UNIT": Dated(0, VOLTS),
}
PVS = sorted({each.pv for each in samples()})


def fill(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(samples())
        store.add_metadata(METADATA)
        store.add_metadata({"T:UNIT": Dated(BEGIN + 150 * SECOND, Metadata("kV", 3))})


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A running ``rackioc web``."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.port = free_port()
        self.database = database or ""
        config: dict[str, Any] = {
            "prefix": "T:",
            "instruments": {"TC1": {"driver": "se521"}},
            "web": {"port": self.port},
        }
        if database is not None:
            config["archive"] = {"database": database, "pvs": ["T:*"]}
        path = folder / "rack.yaml"
        path.write_text(json.dumps(config))
        self.log = folder / "web.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-P", "-m", "rackioc", "web", str(path)], stderr=log)
        until(lambda: self.process.poll() is not None or "listening" in self.log.read_text(), 20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/retrieval"

    def get(self, path: str, body: bytes | None = None, headers: Any = {}, /, **parameters: Any) -> Answer:  # noqa: B006
        query = urllib.parse.urlencode({k.rstrip("_"): v for k, v in parameters.items()}, doseq=True)
        request = urllib.request.Request(f"{self.url}{path}?{query}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def history(self, pv: str, since_ns: int, until_ns: int) -> list[Sample]:
        """What ``rackioc history`` reads."""
        with open_query(self.database, [pv], Window(since_ns, until_ns)) as query:
            return list(query.samples())

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        self.process.terminate()
        try:
            assert self.process.wait(10) == 0, self.log.read_text()
        finally:
            self.process.kill()
        assert "Traceback" not in self.log.read_text()


def start_rack(racks: Racks, logins: Path, crate: str = "HV1") -> tuple[Ioc, int]:
    """Serve a rack with a crate, thermocouples and a generator, its archive with rows, and its page; its port."""
    port = free_port()
    ioc = racks.start(
        {crate: CRATE, "TC1": LOGGER, "GEN": GENERATOR},
        web={"port": port, "puts": "on", "logins": str(logins)},
        archive={"database": "sqlite:///rack.sqlite", "pvs": ["PREFIX:*"]},
    )

    def answer(path: str) -> Any:
        """What the API says; None where it has nothing yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=5) as found:
                return json.load(found)
        except OSError:
            return None

    def complete() -> bool:
        found = answer("instruments") or {"instruments": []}
        return any(len(each["boards"]) == 3 for each in found["instruments"])

    def archived(point: str) -> bool:
        """Whether the archive has rows of a point: before, the page is told that it has none."""
        return answer(f"history?{urllib.parse.urlencode({'pv': ioc(point), 'since': '1h'})}") is not None

    until(complete, 60)
    last = [f"{crate}:{channel}:{each}" for channel in ("S02:C01", "S04:C01", "S08:C11") for each in ("VMon", "IMon")]
    for point in (*last, *(f"TC1:T{number}" for number in range(1, 5)), "GEN:VMon"):
        until(partial(archived, point), 30)
    return ioc, port


def iso(time_ns: int) -> str:
    """A time as Phoebus sends it."""
    from archiver.times import format_time

    return format_time(time_ns)
