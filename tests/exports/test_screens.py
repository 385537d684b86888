"""The screens: read by a model of Phoebus, with all that they refer to."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from drivers.base import Point, RecordType
from exports import places
from exports.alarms import alarms
from exports.rack import Instrument, Pv
from exports.screens.screens import make
from rackioc.cli import app
from tests.exports.alarmserver import AlarmServer
from tests.exports.displays import Widget, expanded, traces, widgets, width

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exports.rack import Rack

# Space that Phoebus leaves around the text of a button or field
PADDING = {"action_button": 12, "bool_button": 28, "combo": 36, "textentry": 12, "textupdate": 2, "label": 0}
# As long as a text record gets, and the names of channels and boards
MESSAGE = "limits are in uA, the value is in V now"
NAME = "DETECTOR_W1"
# It has two lines
SENTENCE = "the archiver is not running (no process holds /var/lib/rackioc/rack.spool.status)"
Opened = tuple[str, "Mapping[str, str]"]


def large(demo: Rack) -> Rack:
    """A rack with a full crate of boards of 48 channels, one of 64, and instruments of a driver that is not known."""
    crate = demo.instruments[0]
    model = [pv for pv in crate.pvs if pv.point.name.startswith("S04:C00:")]
    own = [pv for pv in crate.pvs if pv.point.name.startswith("S04:") and not pv.point.name.startswith("S04:C")]
    pvs = [pv for pv in crate.pvs if not pv.point.name.startswith("S0")]
    for slot in range(16):
        for pv in own:
            pvs.append(named(pv, pv.point.name.replace("S04", f"S{slot:02}"), crate.prefix))
        for channel in range({3: 64, 4: 48}.get(slot, 2)):
            start = f"S{slot:02}:C{channel:02}"
            pvs += [named(pv, pv.point.name.replace("S04:C00", start), crate.prefix) for pv in model]
    points = [Point(name=f"Value{n}", rtyp=RecordType.ao, egu="mbar", prec=2, drvh=1000) for n in range(150)]
    gauges = tuple(
        Instrument(f"G{n}", "gauge", f"DEMO:G{n}:", tuple(Pv(f"DEMO:G{n}:{point.name}", point) for point in points))
        for n in range(3)
    )
    return replace(demo, instruments=(replace(crate, pvs=tuple(pvs)), *gauges, *demo.instruments[1:]))


def named(pv: Pv, name: str, prefix: str) -> Pv:
    follows = pv.point.follows
    start = name.rpartition(":")[0]
    point = replace(pv.point, name=name, follows=follows and f"{start}:{follows.rpartition(':')[2]}")
    return replace(pv, name=f"{prefix}{name}", point=point)


@pytest.fixture(scope="module", params=["demo", "large", "desktop"])
def rack(request: pytest.FixtureRequest, demo: Rack, desktop: Rack) -> Rack:
    return {"demo": demo, "large": large(demo), "desktop": desktop}[request.param]


@pytest.fixture(scope="module")
def files(rack: Rack) -> Mapping[str, str]:
    return make(rack)


@pytest.fixture(scope="module")
def shown(files: Mapping[str, str]) -> list[tuple[str, list[Widget]]]:
    """All displays that can be opened from the overview, with the macros of each way to them."""
    waiting: deque[Opened] = deque([(places.OVERVIEW, {})])
    found = {}
    while waiting:
        file, inherited = waiting.popleft()
        macros = {name: value for name, value in inherited.items() if f"$({name})" in files[file]}
        key = f"{file} {sorted(macros.items())}"
        if key in found:
            continue
        found[key] = list(widgets(files[file], macros))
        for widget in found[key]:
            waiting.extend(opens(widget))
    return list(found.items())


def opens(widget: Widget) -> list[Opened]:
    """Return the displays that a widget opens, with their macros: those of its own display are inherited."""
    found: list[Opened] = []
    for action in widget.element.findall("actions/action"):
        if action.attrib["type"] == "open_display":
            own = {macro.tag: expanded(macro.text or "", widget.macros) for macro in action.findall("macros/*")}
            found.append((action.findtext("file", ""), {**widget.macros, **own}))
    return found


def test_each_screen_can_be_reached_from_the_overview(
    files: Mapping[str, str], shown: list[tuple[str, list[Widget]]]
) -> None:
    assert {name for name in files if name.endswith(".bob")} == {key.partition(" ")[0] for key, _ in shown}


def test_each_pv_of_a_screen_exists(rack: Rack, shown: list[tuple[str, list[Widget]]]) -> None:
    names = {pv.name for pv in rack.pvs}
    for key, content in shown:
        used = {record(widget.get("pv_name")) for widget in content} - {""}
        assert used <= names, key
        assert used or key.startswith("overview"), key


def test_nothing_is_shown_or_set_twice_in_one_screen(shown: list[tuple[str, list[Widget]]]) -> None:
    for key, content in shown:
        used = [widget.get("pv_name") for widget in content if widget.element.find("pv_name") is not None]
        assert len(used) == len(set(used)), key


def test_what_the_data_browser_is_opened_with_exists(rack: Rack, shown: list[tuple[str, list[Widget]]]) -> None:
    names = {pv.name for pv in rack.pvs}
    found = 0
    for _, content in shown:
        for widget in content:
            for each in widget.element.findall("actions/action[@type='open_data_browser']/pv_name"):
                assert set(expanded(each.text or "", widget.macros).split()) <= names
                found += 1
    assert found


def test_each_plot_is_there_and_its_pvs_exist(
    rack: Rack, files: Mapping[str, str], shown: list[tuple[str, list[Widget]]]
) -> None:
    names = {pv.name for pv in rack.pvs}
    used = set()
    for _, content in shown:
        for widget in content:
            macros = {
                macro.tag: expanded(macro.text or "", widget.macros) for macro in widget.element.findall("macros/*")
            }
            plots = [widget.get("file")] if widget.kind == "databrowser" else []
            plots += [each.text or "" for each in widget.element.findall("actions/action[@type='open_file']/file")]
            for plot in plots:
                used.add(plot)
                assert {expanded(name, macros) for name in traces(files[plot])} <= names
    assert used == {name for name in files if name.endswith(".plt")}


def test_an_axis_has_the_range_of_its_traces_if_all_have_one(demo: Rack) -> None:
    files = make(demo)

    def ranges(name: str) -> dict[str | None, tuple[str | None, str | None]]:
        axes = ElementTree.fromstring(files[name]).findall("axes/axis")
        return {axis.findtext("name"): (axis.findtext("min"), axis.findtext("max")) for axis in axes}

    assert ranges("HV1_S02_channel.plt") == {"V": ("0.0", "3000.0"), "uA": ("0.0", "500.0")}
    assert ranges("HV1_S02_voltages.plt") == {"V": ("0.0", "3000.0")}
    assert ranges("TC1.plt") == {"C": (None, None)}


def test_readings_and_settings_of_a_table_are_of_one_size(demo: Rack) -> None:
    shown = [each for each in widgets(make(demo)["HV1_S02.bob"], {}) if each.kind in {"textupdate", "textentry"}]
    table = {widget.get("pv_name"): widget.size for widget in shown}
    start = "DEMO:HV1:S02:C00:"
    assert {table[f"{start}{name}"] for name in ("VMon", "IMon", "V0Set", "I0Set")} == {14.0}


def test_the_last_error_is_shown_as_a_whole_sentence(demo: Rack) -> None:
    for file, name in (("TC1.bob", "TC1:Error"), ("health.bob", "GEN:Error"), ("archiver.bob", "ARCH:LastError")):
        (widget,) = [each for each in widgets(make(demo)[file], {}) if record(each.get("pv_name")) == f"DEMO:{name}"]
        wanted = {"pv_name": f"DEMO:{name}.VAL$", "format": "6", "wrap_words": "true", "vertical_alignment": "0"}
        assert {tag: widget.get(tag) for tag in wanted} == wanted
        _, top, _, bottom = widget.box
        assert bottom - top == 54


def test_nothing_overlaps_or_is_cut_off_at_the_edge(shown: list[tuple[str, list[Widget]]]) -> None:
    places_of = {key.partition(" ")[0]: content for key, content in shown}  # whatever the macros are
    for key, content in places_of.items():
        boxes = [widget.box for widget in content]
        assert all(x >= 0 and y >= 0 and right <= 1920 and bottom <= 1080 for x, y, right, bottom in boxes), key
        for one, other in combinations(sorted(boxes), 2):
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (key, one, other)


def record(pv: str) -> str:
    """Return the record of which a PV is the text: in words, or whole."""
    return pv.removesuffix(".AMSG").removesuffix(".VAL$")


def longest(widget: Widget, pvs: Mapping[str, Pv]) -> list[str]:
    """Return the longest texts that a widget has to show."""
    if widget.kind in {"label", "action_button"}:
        return [widget.get("text")]
    if widget.kind == "bool_button":
        return [widget.get("off_label"), widget.get("on_label")]
    if widget.get("pv_name") != record(widget.get("pv_name")):
        return [MESSAGE if widget.get("pv_name").endswith(".AMSG") else SENTENCE]
    point = pvs[widget.get("pv_name")].point
    if point.rtyp.states:
        return list(point.states)
    if point.rtyp.numeric:
        ends = [limit for limit in (point.lopr, point.hopr, point.drvl, point.drvh) if limit is not None] or [99999.0]
        return [f"{end:.{point.prec}f} {point.egu}" for end in ends]
    return [NAME if point.name.endswith((":Name", ":Name_RBV", ":Model", ":Serial")) else MESSAGE]


def test_texts_fit_into_their_widgets(rack: Rack, shown: list[tuple[str, list[Widget]]]) -> None:
    pvs = {pv.name: pv for pv in rack.pvs}
    tight = set()
    for key, content in shown:
        for widget in content:
            if widget.kind == "databrowser":
                continue
            left, top, right, bottom = widget.box
            assert bottom - top >= widget.size * 1.3, key
            bold = widget.element.find("font/font[@style='BOLD']") is not None
            # where a line ends some of it is free
            lines = 1 if widget.element.findtext("wrap_words") != "true" else (bottom - top) // 18 * 0.85
            for text in longest(widget, pvs):
                if width(text, widget.size, bold=bold) + PADDING[widget.kind] > (right - left) * lines:
                    tight.add((key.partition(" ")[0], widget.kind, text, right - left))
    assert tight == set()


def test_what_switches_on_asks_first_and_what_makes_safe_never(demo: Rack) -> None:
    files = make(demo)
    asked = {}
    for name in ("GEN.bob", "HV1.bob", "HV1_S02.bob"):
        for widget in widgets(files[name], {}):
            if (
                widget.kind in {"bool_button", "action_button", "combo"}
                and widget.element.find("pv_name") is not None
            ):
                asked[widget.get("pv_name")] = widget.element.findtext("show_confirm_dialog")
    on, off = "2", "3"
    assert asked["DEMO:GEN:HV"] == asked["DEMO:HV1:S02:C00:Pw"] == on
    assert asked["DEMO:GEN:Inhibit"] == asked["DEMO:GEN:Mode"] == off
    assert asked["DEMO:HV1:Cmd:Kill"] == "false"
    assert asked["DEMO:HV1:Cmd:ClearAlarm"] == "true"
    assert asked["DEMO:HV1:Sys:OutputLevel"] == "1"


def test_a_command_puts_its_own_word(demo: Rack) -> None:
    pvs = {pv.name: pv.point for pv in demo.pvs}
    found = {}
    for widget in widgets(make(demo)["HV1.bob"], {}):
        for action in widget.element.findall("actions/action[@type='write_pv']"):
            found[widget.get("pv_name")] = action.findtext("value")
    assert found["DEMO:HV1:Cmd:ClearAlarm"] == "Execute"
    assert all(value in pvs[name].states for name, value in found.items())


def test_each_setting_of_a_channel_can_be_set_and_its_tooltip_has_its_description(demo: Rack) -> None:
    channel = list(widgets(make(demo)["HV1_S02_channel.bob"], {"C": "C05"}))
    tooltips = {widget.get("pv_name"): widget.get("tooltip") for widget in channel}
    start = "DEMO:HV1:S02:C05:"
    settings = {pv.name for pv in demo.pvs if pv.name.startswith(start) and pv.point.rtyp.writable}
    assert settings <= set(tooltips)
    assert tooltips[f"{start}Trip"].splitlines() == ["Trip (1000 = never)", f"{start}Trip", "<value>"]


@pytest.mark.parametrize("desc", ["of $(P), ${Q} and $(P", "100 $", "$", r"a \$(P) b\\"])
def test_a_dollar_in_a_description_is_shown_as_it_is(demo: Rack, desc: str) -> None:
    name = "DEMO:GEN:VSet"
    (generator,) = [each for each in demo.instruments if each.name == "GEN"]
    pvs = tuple(replace(pv, point=replace(pv.point, desc=desc)) if pv.name == name else pv for pv in generator.pvs)
    rack = replace(demo, instruments=(replace(generator, pvs=pvs),))
    tooltips = [each.get("tooltip") for each in widgets(make(rack)["GEN.bob"], {}) if each.get("pv_name") == name]
    assert tooltips == [f"{desc}\n{name}\n<value>"]


def test_a_channel_with_words_of_its_own_has_a_screen_of_its_own(demo: Rack) -> None:
    name, words = "DEMO:HV1:S02:C05:Pw", ("Aus", "Ein")
    crate, *others = demo.instruments
    pvs = tuple(replace(pv, point=replace(pv.point, states=words)) if pv.name == name else pv for pv in crate.pvs)
    files = make(replace(demo, instruments=(replace(crate, pvs=pvs), *others)))
    for channel, wanted in (("C04", ("Off", "On")), ("C05", words)):
        (button,) = [each for each in widgets(files["HV1_S02.bob"], {}) if each.get("text") == channel]
        file = button.element.findtext("actions/action/file") or ""
        switch = f"DEMO:HV1:S02:{channel}:Pw"
        (found,) = [each for each in widgets(files[file], {"C": channel}) if each.get("pv_name") == switch]
        assert (found.get("off_label"), found.get("on_label")) == wanted


def test_a_desktop_unit_has_its_own_parameters_in_the_table(desktop: Rack) -> None:
    table = {widget.get("pv_name") for widget in widgets(make(desktop)["HV1_S02.bob"], {})}
    pvs = {pv.name for pv in desktop.pvs}
    start = "LAB:HV1:S02:C00:"
    wanted = {f"{start}{name}" for name in ("VSet", "ISet", "VMon", "IMonH", "Pw", "V0Set", "I0Set")} & pvs
    assert f"{start}VMon" in wanted
    assert wanted <= table


def test_the_screens_of_the_alarm_tree_are_there(rack: Rack, files: Mapping[str, str]) -> None:
    server = AlarmServer()
    server.load(alarms(rack))
    items = [*server.pvs.values(), *server.components.values()]
    assert {file for item in items for _, file in item.display} <= set(files)


def test_the_same_rack_gives_the_same_bytes_with_a_header_in_each_file(demo: Rack, files: Mapping[str, str]) -> None:
    assert make(demo) == make(demo)
    assert all(f"Made by rackioc {demo.version} from " in text.splitlines()[1] for text in files.values())


def test_screens_are_written_into_a_folder_and_a_crate_that_is_away_is_named(tmp_path: Path) -> None:
    config = tmp_path / "rack.yaml"
    crate = "{driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: geheim42}"
    config.write_text(f'prefix: "LAB:"\ninstruments:\n  TC1: {{driver: se521}}\n  HV1: {crate}\n')
    out = tmp_path / "made" / "screens"
    result = CliRunner().invoke(app, ["screens", str(config), "-o", str(out)])
    assert result.exit_code == 1
    assert result.output.startswith("HV1: ")
    names = {path.name for path in out.iterdir()}
    assert {"overview.bob", "health.bob", "TC1.bob", "TC1.plt", "HV1.bob"} == names
    assert "Incomplete: HV1 could not be asked what it has." in (out / "overview.bob").read_text()
