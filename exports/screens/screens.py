"""All screens of a rack: overview, crates, generators, thermocouples, health, archiver; any other instrument, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exports import places
from exports.crate import boards
from exports.rack import ARCHIVER, IOC, Instrument, Pv, Rack
from exports.screens.boards import crate_screens
from exports.screens.lines import Line, Section, lines
from exports.screens.plots import plot, trace
from exports.screens.sheet import Link, Screens

# Kind -> heading -> points of the section, in this order; what is named nowhere comes last
_SECTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "technix": {
        "Output": ("VMon", "IMon", "VSet", "VSet_RBV", "ISet", "ISet_RBV", "Polarity", "Regulation"),
        "High voltage": ("HV", "HV_RBV", "Inhibit", "Inhibit_RBV", "Mode", "Mode_RBV"),
        "Safety": ("Interlock", "Fault", "HV:OffPending", "Inhibit:OnPending", "Mode:LocalPending"),
        "Watchdog": ("WD:Margin", "WD:Strikes"),
    },
    "se521": {
        "Temperatures": ("T1", "T2", "T3", "T4"),
        "Means": ("T1:Mean", "T2:Mean", "T3:Mean", "T4:Mean"),
        "Inputs": ("T1:Open", "T2:Open", "T3:Open", "T4:Open"),
    },
}
# Kind -> points of the plot, and of the overview
_PLOTTED = {"technix": ("VMon", "IMon"), "se521": ("T1", "T2", "T3", "T4"), ARCHIVER: ("SamplesRate", "Queue", "Lag")}
_IN_OVERVIEW = {
    "technix": ("VMon", "IMon", "HV_RBV", "Interlock", "Fault"),
    "se521": ("T1", "T2", "T3", "T4"),
    "caen": ("Alarm",),
    ARCHIVER: ("Running", "Database", "Lag"),
    IOC: ("UPTIME", "IOC_CPU_LOAD", "CA_CLNT_CNT"),
}


def make(rack: Rack) -> Mapping[str, str]:
    """Return the text of each file, by its name."""
    links = [Link("Overview", places.OVERVIEW), Link("Health", places.HEALTH)]
    if any(each.kind == ARCHIVER for each in rack.instruments):
        links.append(Link("Archiver", places.ARCHIVE))
    screens = Screens(rack.header("screens"), links)
    return dict(_files(rack, screens))


def _files(rack: Rack, screens: Screens) -> Iterator[tuple[str, str]]:
    title = rack.prefix.rstrip(":") or "Rack"
    files = places.screens(rack)
    stems = places.stems(rack)
    overview = [_summary(each, files[each.name], stems[each.name]) for each in rack.instruments]
    yield from screens.pages(places.OVERVIEW, f"{title}: overview", overview)
    health = [_health(each) for each in rack.instruments]
    own = [each for each in rack.instruments if each.kind == IOC]
    served = [Section("The IOC", tuple(_lines(each, [pv for pv in each.pvs if not pv.health]))) for each in own]
    yield from screens.pages(places.HEALTH, f"{title}: health", [*served, *health])
    for instrument in rack.instruments:
        if instrument.kind == "caen":
            yield from crate_screens(screens, instrument, stems[instrument.name])
        elif instrument.kind != IOC:
            yield from _instrument(screens, instrument, files[instrument.name])


def _summary(instrument: Instrument, file: str, stem: str) -> Section:
    """Return what the overview shows of an instrument: its connection, what matters most, its boards."""
    conn = instrument.pv("Conn")
    found = [Line(instrument.name, conn, file=file)]
    chosen = [instrument.pv(name) for name in _IN_OVERVIEW.get(instrument.kind, ())]
    found += _lines(instrument, [pv for pv in chosen if pv is not None])
    for board in boards(instrument):
        found.append(Line(board.label, board.summary, file=places.board_screen(stem, board.label)))
    return Section(instrument.name, tuple(found))


def _health(instrument: Instrument) -> Section:
    return Section(instrument.name, tuple(_lines(instrument, [pv for pv in instrument.pvs if pv.health])))


def _instrument(screens: Screens, instrument: Instrument, file: str) -> Iterator[tuple[str, str]]:
    """Yield the screen of an instrument that is no crate, and its plot."""
    traced = [instrument.pv(name) for name in _PLOTTED.get(instrument.kind, ())]
    traces = [trace(pv, pv.name, pv.point.name) for pv in traced if pv is not None]
    plotted: tuple[str, Mapping[str, str]] | None = None
    if traces:
        name = file.replace(".bob", ".plt")
        yield name, plot(instrument.name, traces, screens.header)
        plotted = name, {}
    more = [] if plotted is None else [Link("Plot", plotted[0])]
    yield from screens.pages(file, instrument.name, _sections(instrument), more, plotted)


def _sections(instrument: Instrument) -> list[Section]:
    sections = []
    named: set[str] = set()
    for title, names in _SECTIONS.get(instrument.kind, {}).items():
        pvs = [pv for pv in map(instrument.pv, names) if pv is not None]
        sections.append(Section(title, tuple(_lines(instrument, pvs))))
        named.update(names)
    rest = [pv for pv in instrument.pvs if pv.point.name not in named]
    sections.append(Section("Values", tuple(_lines(instrument, [pv for pv in rest if not pv.health]))))
    sections.append(Section("Connection", tuple(_lines(instrument, [pv for pv in rest if pv.health]))))
    return [section for section in sections if section.lines]


def _lines(instrument: Instrument, pvs: list[Pv]) -> Iterator[Line]:
    return lines(pvs, instrument.prefix)
