"""The archiver's Channel Access client on the real libca, against a C IOC."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, overload

import pytest

from archiver.ca import calls, dbr
from archiver.ca.client import Client
from archiver.ca.libca import Context
from archiver.ca.listener import PvUpdate
from archiver.sample import Metadata, Value, pack, unpack
from tests.archiver.processes import Ioc, Wait

VOLTAGE = """
record(ai, "T:VMon") {
    field(VAL, "1.5") field(PINI, "YES") field(EGU, "kV") field(PREC, "2") field(ADEL, "1")
    field(HOPR, "10") field(LOPR, "-10") field(HIHI, "9.2") field(HHSV, "MAJOR") field(LOW, "-5") field(LSV, "MINOR")
}
"""
VOLTAGE_METADATA = Metadata("kV", 2, (-10.0, 10.0), (-5.0, None), (None, 9.2))

SCALARS = """
record(bo, "T:HV") { field(VAL, "0") field(PINI, "YES") field(ZNAM, "Off") field(ONAM, "On") }
record(stringout, "T:Name") { field(VAL, "anode") field(PINI, "YES") }
record(longout, "T:Count") { field(VAL, "-7") field(PINI, "YES") field(EGU, "µA") field(HOPR, "9") }
record(waveform, "T:Float") { field(FTVL, "FLOAT") field(NELM, "1") field(PINI, "YES")
    field(PREC, "3") field(INP, [0.25]) }
record(waveform, "T:Short") { field(FTVL, "SHORT") field(NELM, "1") field(PINI, "YES") field(INP, [-300]) }
record(waveform, "T:Char") { field(FTVL, "CHAR") field(NELM, "1") field(PINI, "YES") field(INP, [200]) }
record(ai, "T:Never") {}
record(ai, "T:Nan") { field(VAL, "nan") field(PINI, "YES") }
"""
ARRAYS = """
record(waveform, "T:Double") { field(FTVL, "DOUBLE") field(NELM, "10") field(PINI, "YES") field(INP, [1.5, -2]) }
record(waveform, "T:Long") { field(FTVL, "LONG") field(NELM, "10") field(PINI, "YES") field(INP, [70000, -7]) }
record(waveform, "T:Shorts") { field(FTVL, "SHORT") field(NELM, "3") field(PINI, "YES") field(INP, [1, 2, 3]) }
record(waveform, "T:Enums") { field(FTVL, "ENUM") field(NELM, "3") field(PINI, "YES") field(INP, [2, 0]) }
record(waveform, "T:Strings") { field(FTVL, "STRING") field(NELM, "5") field(PINI, "YES")
    field(INP, ["one", "", "three"]) }
record(waveform, "T:Text") { field(FTVL, "CHAR") field(NELM, "5000") }
record(waveform, "T:Empty") { field(FTVL, "DOUBLE") field(NELM, "10") field(PINI, "YES") }
"""
COUNT = """
record(longout, "T:Count") { field(VAL, "0") field(PINI, "YES") }
"""


T = TypeVar("T")


class Recorder:
    """A listener that keeps its calls in order."""

    def __init__(self) -> None:
        self.calls: list[str | Metadata | Value] = []
        self.updates: list[PvUpdate] = []
        self.threads: set[threading.Thread] = set()

    def _record(self, call: str | Metadata | Value) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread())

    def connected(self) -> None:
        self._record("connected")

    def metadata_changed(self, metadata: Metadata) -> None:
        self._record(metadata)

    def update(self, update: PvUpdate) -> None:
        self._record(update.value)
        self.updates.append(update)

    def lost(self, since_ns: int) -> None:
        self._record(f"lost since {since_ns}")

    def disconnected(self) -> None:
        self._record("lost")


class Polled(threading.Thread):
    """A client, polled by a thread of its own: there libca reads the environment anew."""

    def __init__(self) -> None:
        super().__init__()
        self._work: queue.SimpleQueue[Callable[[Client], object] | None] = queue.SimpleQueue()

    def run(self) -> None:
        client = Client()
        try:
            while (work := self._next()) is not None:
                work(client)
                client.poll(0.02)
        finally:
            client.close()

    def do(self, call: Callable[[Client], T]) -> T:
        """What a call of the client returns."""
        result: Future[T] = Future()
        self._work.put(lambda client: result.set_result(call(client)))
        return result.result(10)

    def pause(self) -> threading.Event:
        """Do not poll until the event is set."""
        event = threading.Event()
        self._work.put(lambda client: event.wait())
        return event

    def stop(self) -> None:
        self._work.put(None)
        self.join()

    @overload
    def subscribe(self, pv: str, /) -> Recorder: ...
    @overload
    def subscribe(self, *pvs: str) -> list[Recorder]: ...
    def subscribe(self, *pvs: str) -> Recorder | list[Recorder]:
        recorders = [self._subscribe(pv) for pv in pvs]
        return recorders[0] if len(pvs) == 1 else recorders

    def _subscribe(self, pv: str) -> Recorder:
        recorder = Recorder()
        self.do(lambda client: client.subscribe(pv, recorder))
        return recorder

    def _next(self) -> Callable[[Client], object] | None:
        try:
            return self._work.get_nowait()
        except queue.Empty:
            return lambda client: None


@pytest.fixture
def client(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Polled]:
    for name, value in environment.items():
        if name.startswith("EPICS_CA_"):
            monkeypatch.setenv(name, value)
        elif name.startswith("EPICS_CAS_"):  # for the IOC; with them the repeater warns
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EPICS_CA_CONN_TMO", "2")
    polled = Polled()
    polled.start()
    yield polled
    polled.stop()


def test_a_pv_is_connected_then_described_then_known(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(VOLTAGE)
    voltage = client.subscribe("T:VMon")
    wait(lambda: voltage.updates)
    assert voltage.calls == ["connected", VOLTAGE_METADATA, 1.5]
    assert voltage.threads == {client}
    assert (client.do(lambda client: client.connected), client.do(lambda client: client.total)) == (1, 1)
    ioc.put("T:VMon", 9.3)
    wait(lambda: len(voltage.updates) == 2)
    assert voltage.updates[-1] == (ioc.stamp_ns("T:VMon"), 9.3, 2, "HIHI")


def test_the_archive_deadband_and_the_alarms_decide(ioc: Ioc, client: Polled, wait: Wait) -> None:
    """Were the mask DBE_VALUE, every put would come."""
    ioc.start(VOLTAGE)
    voltage = client.subscribe("T:VMon")
    wait(lambda: voltage.updates)
    for value in (1.8, 2.1, 9, 9.1, 9.3, 9.25, 9.1):
        ioc.put("T:VMon", value)
    wait(lambda: voltage.calls[2:] == [1.5, 9.0, 9.3, 9.1])


def test_every_scalar_type_and_its_metadata(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(SCALARS)
    state, name, count, real, short, char, nan, never = client.subscribe(
        "T:HV", "T:Name", "T:Count", "T:Float", "T:Short", "T:Char", "T:Nan", "T:Never"
    )
    wait(lambda: nan.updates and char.updates and never.calls)
    assert state.calls == ["connected", Metadata(words=("Off", "On")), 0]
    assert name.calls == ["connected", "anode"]
    assert count.calls == ["connected", Metadata("µA", 0, (0, 9), (0, 0), (0, 0)), -7]
    assert real.calls == ["connected", Metadata(precision=3, display=(0, 0)), 0.25]
    assert short.calls[2:] == [-300]
    assert char.calls[2:] == [200]
    assert str(nan.calls[2]) == "nan"
    assert [type(recorder.calls[-1]) for recorder in (state, name, count, real)] == [int, str, int, float]
    time.sleep(0.2)
    assert never.calls == ["connected", Metadata(display=(0, 0))]  # it has no value yet


def test_arrays(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(ARRAYS)
    ioc.put("T:Text", "x" * 3000)
    names = ["T:Double", "T:Long", "T:Shorts", "T:Enums", "T:Strings", "T:Text", "T:Empty"]
    recorders = client.subscribe(*names)
    wait(lambda: all(recorder.updates for recorder in recorders))
    values = [recorder.updates[0].value for recorder in recorders]
    assert [unpack(each) if isinstance(each, bytes) else each for each in values] == [
        (1.5, -2.0),
        (70000.0, -7.0),
        (1.0, 2.0, 3.0),
        (2.0, 0.0),
        "one, three",
        "x" * 3000,
        (),
    ]
    assert isinstance(values[1], bytes)


def test_elements_of_an_array_are_a_pv(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(ARRAYS)
    some, one = client.subscribe("T:Shorts.[0:1]", "T:Shorts.VAL[2]")
    wait(lambda: some.updates and one.updates)
    assert (some.updates[0].value, one.updates[0].value) == (pack([1, 2]), 3)


BYTES = [
    (b"anode\0", "anode"),
    (b"anode\0\0\0\0", "anode"),
    (b"an\tode 20 \xb0C\r\n", "an\tode 20 \N{DEGREE SIGN}C\r\n"),
    ("Spannung \N{GREEK SMALL LETTER MU}V".encode(), "Spannung \N{GREEK SMALL LETTER MU}V"),
    (b"\0\0\0", ""),
    (b"\0\x05", (0.0, 5.0)),
    (b"PNG\0\x01\0\0", (80.0, 78.0, 71.0, 0.0, 1.0, 0.0, 0.0)),
    (b"\x01\x02\xff", (1.0, 2.0, 255.0)),
    (b"\x7f\0\xff\0", (127.0, 0.0, 255.0, 0.0)),
]


@pytest.mark.parametrize(("data", "expected"), BYTES)
def test_an_array_of_bytes_is_a_text_only_if_it_can_be_one(data: bytes, expected: Value) -> None:
    head = struct.pack("=hhII3x", 0, 0, 10**9, 0)
    update = dbr.decoder(dbr.CHAR, 20)(head + data)
    assert update is not None
    assert (unpack(update.value) if isinstance(update.value, bytes) else update.value) == expected


def test_no_update_of_a_burst_is_merged_even_while_nobody_polls(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(COUNT)
    count = client.subscribe("T:Count")
    wait(lambda: count.updates)
    polling = client.pause()
    for number in range(1, 201):
        ioc.put("T:Count", number)
    polling.set()
    wait(lambda: len(count.updates) == 201)
    assert [update.value for update in count.updates] == list(range(201))


def test_what_came_before_the_clock_was_set_back_is_handled_at_the_end(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", environment["EPICS_CA_ADDR_LIST"])
    handled: list[int] = []

    def run() -> None:
        context = Context()
        number = context.register(lambda first, _: handled.append(first))
        with monkeypatch.context() as before:
            before.setattr(calls, "time", SimpleNamespace(time=lambda: time.time() + 3600))
            for each in range(2000):
                context.queue.put(number, each, b"")
        assert context.finish() <= time.time()
        context.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handled == list(range(2000))


def test_a_lost_ioc_may_come_back_with_another_type(ioc: Ioc, client: Polled, wait: Wait) -> None:
    """libca waits 10 s before it searches for what it has lost."""
    ioc.start(VOLTAGE + COUNT + ARRAYS)
    voltage, count, array = client.subscribe("T:VMon", "T:Count", "T:Double")
    wait(lambda: voltage.updates and count.updates and array.updates)
    ioc.stop()
    wait(lambda: voltage.calls[-1] == count.calls[-1] == array.calls[-1] == "lost")
    assert client.do(lambda client: client.connected) == 0
    ioc.start(
        VOLTAGE + 'record(stringout, "T:Count") { field(VAL, "many") field(PINI, "YES") }'
        'record(ai, "T:Double") { field(VAL, "4") field(PINI, "YES") }'
    )
    wait(lambda: len(voltage.updates) == len(count.updates) == len(array.updates) == 2)
    assert voltage.calls == ["connected", VOLTAGE_METADATA, 1.5, "lost", "connected", VOLTAGE_METADATA, 1.5]
    assert count.calls[-3:] == ["lost", "connected", "many"]
    assert array.calls[-1] == 4.0
    ioc.put("T:VMon", 5)
    wait(lambda: len(voltage.updates) == 3)
    assert voltage.calls[-1] == 5.0


def test_a_frozen_ioc_is_lost_until_it_goes_on(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(VOLTAGE)
    voltage = client.subscribe("T:VMon")
    wait(lambda: voltage.updates)
    ioc.freeze()
    wait(lambda: voltage.calls[-1] == "lost")
    ioc.go_on()
    wait(lambda: len(voltage.updates) == 2)
    ioc.put("T:VMon", 5)
    wait(lambda: len(voltage.updates) == 3)
    assert voltage.calls[3:] == ["lost", "connected", VOLTAGE_METADATA, 1.5, 5.0]


def test_metadata_that_change_are_described_again(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(VOLTAGE + SCALARS)
    voltage, state = client.subscribe("T:VMon", "T:HV")
    wait(lambda: voltage.updates and state.updates)
    ioc.put("T:VMon.HIHI", 9.5)
    ioc.put("T:VMon.HIHI", 9.5)
    ioc.put("T:HV.ONAM", "Ramped")
    wait(lambda: len(state.calls) == 4)
    assert voltage.calls[3:] == [Metadata("kV", 2, (-10.0, 10.0), (-5.0, None), (None, 9.5))]
    assert state.calls[3:] == [Metadata(words=("Off", "Ramped"))]


def test_a_pv_that_may_not_be_read_is_named_once_and_tried_again(
    ioc: Ioc,
    client: Polled,
    wait: Wait,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("archiver.ca.client.RETRY_PERIOD", 0.5)
    (tmp_path / "ioc.acf").write_text("ASG(DEFAULT) { RULE(1, WRITE) }  ASG(SECRET)")
    ioc.start(VOLTAGE.replace("field(VAL", 'field(ASG, "SECRET") field(VAL'))
    voltage = client.subscribe("T:VMon")
    wait(lambda: "T:VMon cannot be read: " in caplog.text)
    ioc.put("T:VMon.ASG", "DEFAULT")
    wait(lambda: voltage.calls == ["connected", VOLTAGE_METADATA, 1.5])
    ioc.put("T:VMon.ASG", "SECRET")
    wait(lambda: voltage.calls[3:] == ["lost"])
    ioc.put("T:VMon.ASG", "DEFAULT")
    wait(lambda: voltage.calls[3:] == ["lost", "connected", VOLTAGE_METADATA, 1.5])
    assert caplog.text.count("cannot be read") == 1


def test_reading_is_fresh_and_leaves_out_what_does_not_answer(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(VOLTAGE + COUNT + ARRAYS)
    answers: list[Mapping[str, PvUpdate]] = []
    names = ["T:VMon", "T:Count", "T:Double", "T:Nowhere"]
    client.do(lambda client: client.get(names, answers.append, timeout=1.0))
    wait(lambda: answers)
    assert {pv: update.value for pv, update in answers[0].items()} == {
        "T:VMon": 1.5,
        "T:Count": 0,
        "T:Double": pack([1.5, -2]),
    }
    ioc.put("T:VMon", 1.75)  # within the archive deadband
    asked = time.monotonic()
    client.do(lambda client: client.get(names[:3], answers.append))
    wait(lambda: len(answers) == 2)
    assert time.monotonic() - asked < 2
    assert answers[1]["T:VMon"] == (ioc.stamp_ns("T:VMon"), 1.75, 0, "NO_ALARM")
    ioc.stop()
    time.sleep(0.5)
    client.do(lambda client: client.get(names[:3], answers.append))
    wait(lambda: len(answers) == 3, 2)
    assert answers[2] == {}


def test_a_frozen_ioc_does_not_answer_within_the_timeout(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(VOLTAGE)
    answers: list[Mapping[str, PvUpdate]] = []
    client.do(lambda client: client.get(["T:VMon"], answers.append))
    wait(lambda: answers)
    ioc.freeze()
    client.do(lambda client: client.get(["T:VMon"], answers.append, timeout=0.5))
    wait(lambda: len(answers) == 2, 2)
    ioc.go_on()
    client.do(lambda client: client.get(["T:VMon"], answers.append))
    wait(lambda: len(answers) == 3)
    assert [len(answer) for answer in answers] == [1, 0, 1]


def test_a_text_is_watched_as_a_whole(ioc: Ioc, client: Polled, wait: Wait) -> None:
    ioc.start(ARRAYS + SCALARS)
    ioc.put("T:Text", "T:A\nT:B")
    texts: list[str] = []
    long_strings: list[str] = []
    client.do(lambda client: client.subscribe_text("T:Text", texts.append))
    client.do(lambda client: client.subscribe_text("T:Name.VAL$", long_strings.append))
    wait(lambda: texts and long_strings)
    ioc.put("T:Text", "\n".join(f"T:{number:04}" for number in range(500)))
    wait(lambda: len(texts) == 2)
    assert texts[0].split() == ["T:A", "T:B"]
    assert len(texts[1].split()) == 500
    assert long_strings == ["anode"]


def test_a_text_that_is_not_found_is_named_once(
    client: Polled, wait: Wait, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.ca.client.NOT_FOUND", 0.5)
    client.do(lambda client: client.subscribe_text("T:PVS", lambda text: None))
    sentence = "T:PVS is not connected after 0.5 s: until it is, PVs that are given by a glob are not archived"
    wait(lambda: sentence in caplog.text)


def test_libca_itself_prints_nothing(
    ioc: Ioc, client: Polled, wait: Wait, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ioc.start(VOLTAGE)
    voltage = client.subscribe("T:VMon")
    wait(lambda: voltage.updates)
    ioc.stop()
    wait(lambda: voltage.calls[-1] == "lost")
    wait(lambda: "Virtual circuit disconnect" in caplog.text)
    assert capfd.readouterr() == ("", "")
