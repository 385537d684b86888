"""What an operator is told about an alarm: what it means, and what to do."""

from __future__ import annotations

from fnmatch import fnmatchcase

from exports.levels import levels
from exports.rack import ARCHIVER, IOC, Instrument, Pv

# An alarm of a state is not told of a value that was not read: nobody may take high voltage for off then
_UNREAD = "INVALID: it was not read, and is not known; read {name}:Error.VAL$."
_UNREAD_BOARD = "INVALID: it was not read, and is not known; see whether its board is there, and the log of rackioc."
# Kind of instrument (``*``: any), point -> what to do. The first line that fits holds.
_REMEDIES = (
    ("*", "Conn", "Read {name}:Error.VAL$: the sentence says what is wrong. Check power, cable and network. The "
     "connection is tried again by itself; 1 to {name}:Retry tries at once."),
    ("*", "Overruns", "Values come late. Read {name}:Error.VAL$; give the scan group a longer period, or see what "
     "else uses the instrument."),
    ("*", "*Pending", "It was put, and the instrument does not show it yet; it is sent again and again. If it stays, "
     "switch off at the instrument itself."),
    (IOC, "HEARTBEAT", "If it is disconnected, the IOC or its computer is down: nothing of this rack is known or can "
     "be set. The instruments stay as they are. Start rackioc again."),
    (IOC, "SiteFile", "Read {pv}.AMSG: the reason. Free disk space or correct the rights of the site file."),
    (ARCHIVER, "Running", "The history is not kept. The IOC and the instruments go on. See the log of the archiver."),
    (ARCHIVER, "DiskFree", "Free space on the disk of the spool and the database."),
    (ARCHIVER, "Lost", "Samples were lost because there was no room. See {name}:Database and {name}:DiskFree."),
    (ARCHIVER, "*", "Read {name}:LastError.VAL$. 'rackioc status' says what is wrong with the archiver."),
    ("caen", "*BdStatus*", "Look at the board and its power supply. A failure stays until it is mended. "
     f"{_UNREAD_BOARD}"),
    ("caen", "*Status*", "Look for the cause (detector, gas, cable, limits) before the channel is switched on again. "
     f"{{name}}:Cmd:ClearAlarm clears the trips of the whole crate. {_UNREAD_BOARD}"),
    ("caen", "*Mon*", "Compare with the setting of the channel. Switch it off if the load is in danger. "
     f"{_UNREAD_BOARD}"),
    ("caen", "*Alarm*", "Open the display: a coloured border shows the channel. {pv}.AMSG names the first PV in "
     "alarm, and why."),
    ("caen", "*", f"Read {{name}}:Error.VAL$. {_UNREAD_BOARD}"),
    ("technix", "Fault", "Fault: find the cause, then reset with the button HV off on the generator's front panel. "
     f"{_UNREAD}"),
    ("technix", "Interlock", "Open: the loop at the rear panel is open, and high voltage is off. Find out who opened "
     f"it before it is closed. {_UNREAD}"),
    ("technix", "?Mon", "Above the configured limit: set it lower, or switch high voltage off. "
     f"{_UNREAD}"),
    ("technix", "WD:Margin", "The generator goes to local after 5 s without a command, and HV goes off. See what "
     "delays the IOC or the serial line."),
    ("technix", "O*Cmd", "Given: the first half of a command was sent and the second was not. See {name}:Error.VAL$, "
     f"and put HV Off. {_UNREAD}"),
    ("se521", "*", "Check plug and wire of the thermocouple. While it is open the temperature is not known."),
    ("*", "*", "Read {name}:Error.VAL$ and look at the instrument."),
)  # fmt: skip

# Kind, point -> what is in alarm besides the point's own limits and states
_CAUSES = (
    ("*", "Overruns", "MINOR: a scan takes longer than its period; MAJOR: values became too old to be true"),
    (IOC, "HEARTBEAT", "disconnected: the IOC does not run"),
    (ARCHIVER, "Connected", "MINOR: some PVs were searched for 3 minutes and never connected"),
    (ARCHIVER, "Database", "MINOR: the database is slow or away"),
    ("caen", "*Status", "as severe as the worst of its bits"),
    ("caen", "*?Mon*", "as relative_alarms of the configuration say, if they are there"),
    ("caen", "*Alarm*", "the worst alarm of all PVs below it"),
    ("technix", "?Mon", "MAJOR above the configured limit"),
    ("se521", "T?", "INVALID: open, or no temperature"),
)


def meaning(instrument: Instrument, pv: Pv) -> str:
    """Return what a PV is, and when it is in alarm."""
    found = "; ".join([*levels(pv.point), *causes(instrument, pv)])
    what = pv.point.desc or pv.point.name
    return f"{what}: {found}" if found else what


def causes(instrument: Instrument, pv: Pv) -> list[str]:
    """Return when a PV is in alarm besides its own limits and states; at most one phrase."""
    return [text for kind, glob, text in _CAUSES if _fits(instrument, pv, kind, glob)][:1]


def remedy(instrument: Instrument, pv: Pv) -> str:
    """Return what to do about the alarm of a PV."""
    text = next(text for kind, glob, text in _REMEDIES if _fits(instrument, pv, kind, glob))
    return text.format(name=instrument.prefix.removesuffix(":"), pv=pv.name)


def _fits(instrument: Instrument, pv: Pv, kind: str, glob: str) -> bool:
    return fnmatchcase(instrument.kind, kind) and fnmatchcase(pv.point.name, glob)
