"""Names with a channel filter, as EPICS base 7.0.8 reads them."""

from __future__ import annotations

import json
import math
import struct
import time
from typing import Any

import aioca
import numpy as np
import pytest

from drivers.base import Point, RecordType, Severity, Status
from ioc.ca import dbr
from ioc.ca.dbr import EPICS_EPOCH
from tests.client import Client
from tests.small_ioc import CREATE, EVENT_ADD, HEADER, READ_NOTIFY, Raw, SmallIoc, search, until


def filtered(small_ioc: SmallIoc, name: str, **filters: Any) -> str:
    return f"{small_ioc.prefix}{name}.VAL{json.dumps(filters, separators=(',', ':'))}"


def test_a_deadband_filter_passes_what_leaves_the_band(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"abs": 5.0}))
    plain = ca.monitor(small_ioc.prefix + "ai")
    until(lambda: updates and plain)
    for value in (1.0, 4.0, 6.0, 7.0, 20.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in plain][-1] == 20.0)
    until(lambda: [float(value) for value in updates] == [0.0, 6.0, 20.0])


@pytest.mark.parametrize("mode", ["abs", "rel"])
@pytest.mark.parametrize("lengths", [(0, 1, 0, 1), (3, 1, 1), (1, 4, 1), (1, 1, 1)])
def test_an_array_passes_a_deadband_filter_also_where_it_has_one_element(
    small_ioc: SmallIoc, ca: Client, caplog: pytest.LogCaptureFixture, lengths: tuple[int, ...], mode: str
) -> None:
    """As in base: of an array each change passes, whatever its length."""
    small_ioc.read("wave", (1.0,) * lengths[0])
    name = filtered(small_ioc, "wave", dbnd={mode: 500.0})
    updates, first = ca.monitor(name), ca.monitor(f"{small_ioc.prefix}wave.VAL[0]" + name[name.index("{") :])
    until(lambda: updates and first)
    for number, length in enumerate(lengths[1:], 2):
        small_ioc.read("wave", (float(number),) * length)
        until(lambda number=number: len(updates) == len(first) == number)  # type: ignore[misc]
    assert [np.size(value) for value in updates] == list(lengths)
    assert "internal error" not in caplog.text


def test_an_array_filter_cuts_a_piece_out(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("wave", (1.0, 2.0, 3.0, 4.0))
    assert list(ca.get(filtered(small_ioc, "wave", arr={"s": 1, "e": 2}))) == [2.0, 3.0]
    assert list(ca.get(f"{small_ioc.prefix}wave.VAL[0:1]")) == [1.0, 2.0]


@pytest.mark.parametrize("name", ["[1]", "T{1}", "{[1", "3]"])
def test_a_record_whose_name_has_brackets_has_fields_and_filters(ca: Client, name: str) -> None:
    """As in base, where the name of a record ends at the first dot."""
    small_ioc = SmallIoc([Point(name=name, rtyp=RecordType.waveform, nelm=4, desc="a name with brackets")])
    try:
        small_ioc.read(name, (1.0, 2.0, 3.0))
        whole = f"{small_ioc.prefix}{name}"
        assert ca.get(f"{whole}.DESC") == "a name with brackets"
        assert list(ca.get(f"{whole}.VAL[1:2]")) == [2.0, 3.0]
        assert small_ioc.server.find(f"{whole}[1:2]".encode()) is None
    finally:
        small_ioc.close()


def test_a_time_filter_stamps_with_the_time_of_the_update(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 1.0)
    time.sleep(0.3)
    plain = ca.get(small_ioc.prefix + "ai", format=aioca.FORMAT_TIME)
    stamped = ca.get(filtered(small_ioc, "ai", ts={}), format=aioca.FORMAT_TIME)
    assert stamped == plain == 1.0
    assert stamped.timestamp - plain.timestamp > 0.2


def test_a_filtered_value_comes_with_alarm_unit_and_words(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 55.5)
    value = ca.get(filtered(small_ioc, "ai", dbnd={"abs": 1.0}), format=aioca.FORMAT_CTRL)
    assert (float(value), value.severity, value.units, value.precision) == (55.5, 1, "kV", 2)
    small_ioc.read("mbbi", 2)
    assert ca.get(filtered(small_ioc, "mbbi", dbnd={"abs": 1.0}), datatype=str) == "Up"
    small_ioc.read("lsi", "hello")
    assert ca.get(f"{small_ioc.prefix}lsi.VAL$" + '{"ts":{}}', datatype=aioca.DBR_CHAR_STR) == "hello"


def test_a_relative_deadband_moves_with_the_value(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 10.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"rel": 10.0}))
    until(lambda: updates)
    for value in (10.5, 12.0, 13.0, 14.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in updates] == [10.0, 12.0, 14.0])


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (10.0, [-10.0, -10.5, -10.4, 0.0, 0.1, 20.0, 23.0, -1.0, -1.01, 10.0]),
        (-10.0, [-10.0, 0.0, 0.1, 20.0, 21.0, 23.0, -1.0, 10.0, 10.5]),
        (150.0, [-10.0, -10.5, -10.4, 0.0, 0.1, 20.0]),
    ],
)
def test_a_relative_deadband_has_the_sign_of_the_value(
    small_ioc: SmallIoc, ca: Client, percent: float, expected: list[float]
) -> None:
    """As in base, where nothing stays within a negative one."""
    small_ioc.read("ai", -10.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"rel": percent}))
    plain = ca.monitor(small_ioc.prefix + "ai")
    until(lambda: updates and plain)
    for value in (-10.5, -10.4, 0.0, 0.1, 20.0, 21.0, 23.0, -1.0, -1.01, 10.0, 10.5):
        small_ioc.read("ai", value)
        until(lambda value=value: float(plain[-1]) == value)  # type: ignore[misc]
    time.sleep(0.1)
    assert [float(value) for value in updates] == expected


def test_an_alarm_passes_a_deadband_without_moving_it(small_ioc: SmallIoc, ca: Client) -> None:
    """As in base: the value that leaves it is compared with the last that did."""
    small_ioc.read("ai", 46.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"abs": 6.0}))
    until(lambda: updates)
    for value in (52.0, 53.0, 58.0, 60.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in updates] == [46.0, 52.0, 53.0, 60.0])
    small_ioc.read("ai", 0.0)


def test_an_alarm_passes_every_deadband(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 10.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"abs": 1000.0}))
    until(lambda: updates)
    small_ioc.read("ai", None, Severity.INVALID, Status.COMM)
    until(lambda: [value.severity for value in updates] == [0, 3])
    small_ioc.read("ai", 10.0)


def test_masks_hold_for_filtered_names_too(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("long", 1)
    alarms = ca.monitor(filtered(small_ioc, "long", dbnd={"abs": 0.0}), events=aioca.DBE_ALARM)
    until(lambda: alarms)
    small_ioc.read("long", 2)
    small_ioc.read("long", None, Severity.INVALID, Status.COMM)
    until(lambda: len(alarms) >= 2)
    assert [(int(value), value.severity) for value in alarms] == [(1, 0), (2, 3)]
    small_ioc.read("long", 2)


def test_a_put_through_a_filtered_name_is_carried_out_or_refused(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.puts.clear()
    ca.put(filtered(small_ioc, "ao", dbnd={"abs": 1.0}), 12.0)
    assert small_ioc.puts == [("ao", 12.0)]
    with pytest.raises(aioca.CANothing):
        ca.put(filtered(small_ioc, "ao", dbnd={"abs": 1.0}), 61.0)
    assert small_ioc.puts == [("ao", 12.0)]


# As the C softIoc of base 7.0.10 answers: names that it refuses
REFUSED = [
    'ai{"ts":{}}',
    "wave[1:3]",
    "wave.VAL[]",
    'ai.VAL{"nonsense":{}}',
    'ai.VAL{"dbnd":{"x":5}}',
    'ai.VAL{"dbnd":5}',
    "ai.VAL{",
    "ai.NONE{}",
    "ai[x",
    'ai.VAL{"dbnd":{"abs":1}',
    'ai.VAL{"dbnd":{"abs":1}}x',
    'ai.VAL{"dbnd":{"abs":null}}',
    *(
        f'ai.VAL{{"dbnd":{{"{key}":{number}}}}}'
        for key in ("abs", "rel", "d")
        for number in ("1e400", "-1e400", '"1e400"', "nan", "+NaN", "inf", "2147483648", "-0x80000001", "01")
    ),
    *(f'ai.VAL{{"dbnd":{{"abs":"{text}"}}}}' for text in ("", "  ", "x", "-", "1e-400", "1e-320", "-1e400")),
    *(f'ai.VAL{{"dbnd":{{"m":{mode},"d":1}}}}' for mode in ("true", "1.0", "0.0", "NaN", "2", "{}", '"1"')),
    *(f'wave.VAL{{"arr":{{"s":{number}}}}}' for number in ("1e400", "Infinity", "1e10", "2147483648", '"nan"')),
    'ai.VAL{"dec":{}}',
    'ai.VAL{"dec":{"n":0}}',
    'ai.VAL{"dec":{"n":2147483648}}',
    'ai.VAL{"dec":{"n":"3"}}',
    'ai.VAL{"dec":{"n":2.0}}',
    'ai.VAL{"ts":5}',
    'ai.VAL{"ts":{"num":"foo"}}',
    'ai.VAL{"ts":{"x":1}}',
    'ai.VAL{"utag":{"x":1}}',
    'ai.VAL{"sync":{"m":"while","s":"red"}}',
    'ai.VAL{"sync":{"unless":"red"}}',
    'wave.VAL{"arr":{"x":1}}',
    'wave.VAL{"arr":5}',
    'ai.VAL{"info":{}}',
]


# Names that it serves with both filters, or the last of the keys
TWICE = [
    "wave.VAL[2]{arr:{e:0}}",
    "wave.VAL{arr:{s:2},arr:{s:1}}",
    "wave.VAL{arr:{s:2,s:1}}",
    'ai.VAL{"ts":{"num":"sec"},ts:{}}',
    "ai.VAL{dbnd:{abs:1},dec:{n:2},'dbnd':{abs:5}}",
]


@pytest.mark.parametrize("name", [*REFUSED, *TWICE])
def test_a_filter_that_is_wrong_or_not_applied_is_a_name_that_nobody_has(small_ioc: SmallIoc, name: str) -> None:
    assert search(small_ioc, small_ioc.prefix + name) is None


# Names that it serves, how many elements it announces, and those of (1, 2, 3, 4) in an array with room for six
PIECES = {
    "wave.[1:3]": (3, [2.0, 3.0, 4.0]),
    "wave.VAL[2]": (1, [3.0]),
    "wave.VAL[1:2:5]": (3, [2.0, 4.0]),
    "wave.VAL[-3:-1]": (3, [2.0, 3.0, 4.0]),
    "wave.VAL[4:5]": (2, []),
    "wave.VAL[5:2]": (0, []),
    "wave.VAL[::0]": (1, [1.0]),
    'wave.VAL[1:3]{"ts":{}}': (3, [2.0, 3.0, 4.0]),
    'wave.VAL{"arr":{"s":1,"e":3}}': (3, [2.0, 3.0, 4.0]),
    "wave.VAL{arr:{s:1,e:3}}": (3, [2.0, 3.0, 4.0]),
    "wave.VAL{'arr':{'s':1,}}": (5, [2.0, 3.0, 4.0]),
    'wave.VAL{"arr":{"s":"1"}}': (5, [2.0, 3.0, 4.0]),
    "ai.VAL[1:3]": (1, [1.0]),
}


@pytest.mark.parametrize("count", [0, 6], ids=["all", "as many as there may be"])
@pytest.mark.parametrize("name", PIECES)
def test_a_piece_announces_what_it_can_have_and_is_never_filled_with_numbers(
    small_ioc: SmallIoc, name: str, count: int
) -> None:
    small_ioc.read("ai", 1.0)
    small_ioc.read("wave", (1.0, 2.0, 3.0, 4.0))
    announced, values = PIECES[name]
    with Raw(small_ioc) as raw:
        padded = (small_ioc.prefix + name).encode()
        raw.say(
            HEADER.pack(CREATE, len(padded) + 8 - len(padded) % 8, 0, 0, 1, 13) + padded + bytes(8 - len(padded) % 8)
        )
        while (message := raw.message())[0] != CREATE:
            pass
        assert message[3] == announced
        raw.say(HEADER.pack(READ_NOTIFY, 0, 6, count, message[5], 5))
        _, body, sent = raw.answer(READ_NOTIFY, 5)
        assert list(struct.unpack_from(f">{sent}d", body)) == values


TIMES = {
    '{"num":"sec"}': lambda moment: float(math.floor(moment) - EPICS_EPOCH),
    '{"num":"nsec"}': lambda moment: float(int(moment % 1 * 1e9)),
    '{"num":"dbl"}': lambda moment: moment - EPICS_EPOCH,
    '{"num":"dbl","epoch":"unix"}': lambda moment: moment,
    '{"num":"ts"}': lambda moment: [math.floor(moment) - EPICS_EPOCH, int(moment % 1 * 1e9)],
    '{"str":"epics"}': lambda moment: time.strftime("%Y-%m-%d %H:%M:%S.", time.localtime(moment)),
    '{"str":"iso"}': lambda moment: time.strftime("%Y-%m-%dT%H:%M:%S.", time.localtime(moment)),
}


@pytest.mark.parametrize("mode", TIMES)
def test_a_time_is_told_in_place_of_the_value(small_ioc: SmallIoc, ca: Client, mode: str) -> None:
    small_ioc.read("ai", 1.0)
    moment = small_ioc.records["ai"].time
    told = ca.get(f'{small_ioc.prefix}ai.VAL{{"ts":{mode}}}')
    expected = TIMES[mode](moment)  # type: ignore[no-untyped-call]
    if isinstance(expected, str):
        assert str(told).startswith(expected)
    else:
        assert np.atleast_1d(told).tolist() == pytest.approx(
            np.atleast_1d(expected).tolist(), abs=1000.0 * ("nsec" in mode or '"ts"' in mode) + 1e-3
        )


@pytest.mark.parametrize("record", ["ai", "wave"])
@pytest.mark.parametrize(
    ("filters", "parts"),
    [
        ('{"ts":{"num":"ts"},"arr":{}}', [0, 1]),
        ('{"ts":{"num":"ts"},"arr":{"s":0,"e":0}}', [0]),
        ('{"ts":{"num":"ts"},"arr":{"s":-1}}', [1]),
        ('{"ts":{"num":"ts"},"arr":{"s":1,"e":0}}', []),
        ('{"ts":{"num":"ts"},"arr":{"s":2,"e":3}}', []),
        ('{"arr":{"s":1,"e":1},"ts":{"num":"ts"}}', [0, 1]),
        ('[1]{"ts":{"num":"ts"}}', [0, 1]),
        ('{"ts":{"num":"sec"},"arr":{"s":1}}', [0]),
    ],
)
def test_a_piece_of_the_seconds_and_nanoseconds_is_cut_out_behind_them(
    small_ioc: SmallIoc, record: str, filters: str, parts: list[int]
) -> None:
    """As in base, which announces no elements where none are left; before them the piece is one of the value."""
    small_ioc.read(record, 1.0 if record == "ai" else (1.0, 2.0, 3.0))
    stamp = dbr.stamp(small_ioc.records[record].time)
    view = small_ioc.server.find(f"{small_ioc.prefix}{record}.VAL{filters}".encode())
    assert view is not None
    assert (view.count, list(view.values_for(dbr.TIME_DOUBLE, 0))) == (len(parts), [stamp[part] for part in parts])
    with Raw(small_ioc) as raw:
        raw.read_notify(raw.create(f"{record}.VAL{filters}"), 20)
        _, body, sent = raw.answer(READ_NOTIFY, 5)
    assert list(struct.unpack_from(f">{sent}d", body, 16)) == [stamp[part] for part in parts]


def test_of_so_many_updates_one_is_sent_and_every_alarm(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dec={"n": 3}))
    until(lambda: updates)
    for value in range(1, 7):
        small_ioc.read("ai", float(value))
    small_ioc.read("ai", None, Severity.INVALID, Status.COMM)
    until(lambda: updates[-1].severity == 3)
    assert [float(value) for value in updates] == [0.0, 3.0, 6.0, 6.0]
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ('{"dbnd":{"abs":4},"dec":{"n":2}}', [0, 10]),
        ('{"dec":{"n":2},"dbnd":{"abs":4}}', [0, 9, 14]),
        ('{"utag":{"M":1,"V":1},"dec":{"n":2}}', [0]),
        ('{"arr":{},"dec":{"n":3},"dbnd":{"abs":0}}', [0, 5, 14, 19]),
    ],
)
def test_each_filter_sees_what_those_before_it_in_the_name_let_pass(
    small_ioc: SmallIoc, ca: Client, filters: str, expected: list[float]
) -> None:
    """As in base."""
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(f"{small_ioc.prefix}ai.VAL{filters}")
    plain = ca.monitor(f"{small_ioc.prefix}ai")
    until(lambda: updates and plain)
    for value in (1.0, 4.0, 5.0, 9.0, 10.0, 14.0, 15.0, 17.0, 19.0):
        small_ioc.read("ai", value)
        until(lambda value=value: float(plain[-1]) == value)  # type: ignore[misc]
    time.sleep(0.1)
    assert [float(value) for value in updates] == expected


@pytest.mark.parametrize(
    "filters", ['{"dbnd":{"abs":4},"ts":{"num":"dbl"}}', '{"ts":{"num":"dbl"},"dbnd":{"abs":4}}']
)
def test_a_deadband_is_one_of_the_value_not_of_the_time_in_its_place(
    small_ioc: SmallIoc, ca: Client, filters: str
) -> None:
    """As in base, wherever the time stands."""
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(f"{small_ioc.prefix}ai.VAL{filters}")
    plain = ca.monitor(f"{small_ioc.prefix}ai")
    until(lambda: updates and plain)
    for value in (1.0, 3.0, 5.0):
        small_ioc.read("ai", value)
        until(lambda value=value: float(plain[-1]) == value)  # type: ignore[misc]
    time.sleep(0.1)
    assert len(updates) == 2


def test_one_element_behind_several_passes_a_deadband(small_ioc: SmallIoc, ca: Client) -> None:
    """Or the client went on showing them all."""
    small_ioc.read("wave", (1.0,))
    updates = ca.monitor(filtered(small_ioc, "wave", dbnd={"abs": 5.0}))
    until(lambda: updates)
    small_ioc.read("wave", (1.0, 2.0, 3.0))
    until(lambda: np.size(updates[-1]) == 3)
    small_ioc.read("wave", (1.0,))
    until(lambda: np.size(updates[-1]) == 1)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"d":5}',
        '{"d":5,"m":"abs"}',
        "{abs:5}",
        "{abs:+0x5}",
        '{"abs":"5"}',
        "{'abs':5.,}",
        '{"abs":" 5 V"}',
        '{"abs":"0x5"}',
        '{"abs":"0x1.4p2"}',
        '{"abs":"5e"}',
    ],
)
def test_a_deadband_is_read_in_all_ways_in_which_base_reads_it(
    small_ioc: SmallIoc, ca: Client, arguments: str
) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(f'{small_ioc.prefix}ai.VAL{{"dbnd":{arguments}}}')
    until(lambda: updates)
    for value in (4.0, 6.0, 10.0, 20.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in updates] == [0.0, 6.0, 20.0])


@pytest.mark.parametrize("band", ["NaN", "Infinity", "+Infinity", '"nan"', '"inf"', '"NaN(1)"', '"Infinity"'])
@pytest.mark.parametrize("mode", ["abs", "rel", "d"])
def test_a_deadband_that_no_number_leaves_lets_pass_the_first_and_alarms(
    small_ioc: SmallIoc, ca: Client, mode: str, band: str
) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(f'{small_ioc.prefix}ai.VAL{{"dbnd":{{"{mode}":{band}}}}}')
    until(lambda: updates)
    for value in (1.0, 9.0, 3.0):
        small_ioc.read("ai", value)
    small_ioc.read("ai", 2.0, Severity.INVALID, Status.COMM)
    until(lambda: updates[-1].severity == 3)
    assert [float(value) for value in updates] == [0.0, 2.0]
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("band", ["-Infinity", '"-inf"', "-1", "1e-400", '"0e-400"', '"-0x0"'])
def test_a_deadband_that_is_no_width_lets_each_change_pass(small_ioc: SmallIoc, ca: Client, band: str) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(f'{small_ioc.prefix}ai.VAL{{"dbnd":{{"abs":{band}}}}}')
    until(lambda: updates)
    for value in (1.0, 2.0, 3.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in updates] == [0.0, 1.0, 2.0, 3.0])
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize(
    ("given", "count"), [('"1x"', 5), ('"0x2"', 4), ('"010"', 0), ("1.5", 5), ("true", 5), ('"-1"', 1)]
)
def test_an_index_is_read_in_all_ways_in_which_base_reads_it(small_ioc: SmallIoc, given: str, count: int) -> None:
    view = small_ioc.server.find(f'{small_ioc.prefix}wave.VAL{{"arr":{{"s":{given}}}}}'.encode())
    assert view is not None
    assert view.count == count


@pytest.mark.parametrize(("arguments", "passes"), [("{}", True), ('{"M":1,"V":1}', False), ('{"M":1,"V":0}', True)])
def test_a_tag_that_no_record_has_lets_nothing_pass_but_the_first(
    small_ioc: SmallIoc, ca: Client, arguments: str, passes: bool
) -> None:
    small_ioc.read("long", 1)
    updates = ca.monitor(f'{small_ioc.prefix}long.VAL{{"utag":{arguments}}}')
    plain = ca.monitor(small_ioc.prefix + "long")
    until(lambda: updates and plain)
    small_ioc.read("long", 2)
    until(lambda: len(plain) == 2)
    time.sleep(0.1)
    assert len(updates) == (2 if passes else 1)


def test_a_long_text_announces_the_room_that_it_has(small_ioc: SmallIoc, ca: Client) -> None:
    for text, room in (("a sentence", 256), ("x" * 255, 256), ("x" * 256, 512), ("x" * 5000, 8192)):
        small_ioc.read("lsi", text)
        with Raw(small_ioc) as raw:
            sid = raw.create("lsi.VAL$")
            raw.read_notify(sid, 4)
            assert raw.answer(READ_NOTIFY, 5)[1].rstrip(b"\0") == text.encode()
        assert ca.get(small_ioc.prefix + "lsi.SIZV") == room
        assert small_ioc.server.find((small_ioc.prefix + "lsi.VAL$").encode()).count == room  # type: ignore[union-attr]


@pytest.mark.alone
def test_a_client_that_does_not_read_gets_the_newest_of_a_filtered_name(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc, receive_buffer=4096) as raw:
        raw.subscribe(raw.create('ai.VAL{"dbnd":{"abs":0.5}}', 1), 1)
        plain = raw.create("ai", 2)
        for number in range(2, 3000):
            raw.subscribe(plain, number)
        client = raw.client
        for number in range(200):
            small_ioc.read("ai", float(number))
        until(lambda: client.blocked)
        small_ioc.read("ai", -7.0)
        newest = None
        while newest != -7.0:
            command, body, *_, subscription = raw.message()
            if command == EVENT_ADD and subscription == 1:
                newest = raw.number(body)
