"""Intended differences: which cases, which of their aspects, and why.

Only what rackioc does differently on purpose belongs here. What it does not do yet, or does wrong, must stay visible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape

from conformance import libca
from conformance.cases import put
from conformance.database import WORDS
from drivers.base import RecordType
from ioc import dbd
from ioc.fields import FIELDS


@dataclass(frozen=True)
class Explanation:
    """A reason for differences.

    cases, aspect  globs
    reason         one sentence for a reader who knows EPICS
    """

    cases: str
    aspect: str
    reason: str


READ_ONLY = "Inputs and arrays show what the instrument reports and are read-only; base lets a client overwrite them."
LIMITS = "A put outside DRVL..DRVH is refused, so that the operator knows; base clamps it silently."
NOT_FINITE = "A put of NaN or infinity is refused: no instrument can be set to it; base accepts it."
NO_STATE = "A put of a state that does not exist is refused; base stores any number."
HARDWARE = "What would convert, redirect or link a record's processing belongs to the driver, not to clients."
FROM_DRIVER = "Unit, drive limits and state words come from the instrument and are read-only at run time."
PROCESS = "PROC reads the instrument anew and never sends a command; in base it writes an output again."

TEXT_NUMBER = "A text put to a number must be one to its end; base reads '1 V' and '1,5' as 1, '' as 0, '010' as 8."
CONFIGURED = "What the configuration or the driver decides cannot be written by clients."
ACKNOWLEDGE = "Inputs are read-only, so their alarms are acknowledged through .ACKS and .ACKT, writable here."
NO_SEVERITY = (
    "A severity or precision that does not exist is refused; base stores any number, and cuts fractions off."
)
ASCII = "A text that is not printable ASCII is refused: no instrument and few clients agree on what it means."
NO_STATE_TEXT = "An empty text is no state: it cannot be read as ENUM; base says so for a scalar, and 0 in an array."
WHOLE = "What is no whole number of 32 bits is refused where one is wanted; base cuts it off."
DISABLED = "Records cannot be disabled: DISA is read-only. DISP locks puts out."
YES_OR_NO = "ACKT is 1 or 0; base stores any number."
ONLY_CHANGES = "ACKS is posted when it changes; base also posts it unchanged."
UNDEFINED = "PROC reads the instrument anew; what it has not reported yet stays undefined, where base assumes 0."
NO_HASH = "HASH is 0: a changed array is told from an unchanged one by its values."
NOT_HIDDEN = "A subscription without a count is told GETFAIL when its type cannot express the value; base is silent."
MOMENTARY = "HIGH of a bo (a momentary output) is not used: no output returns by itself."
UNSET = "A limit that was not set is NaN and would count with the severity shown; in base it is 0 without severity."
SCANNED = "SCAN shows the rate at which the instrument is read, 'I/O Intr' for one that base's menu lacks."
NO_WORDS = "Every state record here has words; a bare mbbo of base has no states and becomes a number."
PROC_VALUE = "PROC reads 0: nothing is kept of a request that is done."
ON_CHANGE = "Arrays are posted when they change (MPST and APST are 'On Change'); base's default is always."
LIMIT_OFF = "NaN takes a limit away; base makes it the most negative integer in integer records."
ATTRIBUTE = "RTYP is not a field that can be put to; base lets a client try."
AS_CHARACTERS = "A name with '$' is an array of characters in every type; base has exceptions."
REFUSED = "A refused put shows at the setpoint, in WRITE and MINOR: many clients drop the status of a put."
NO_PADDING = (
    "A piece of an array is as long as what there is of it; base fills it up with zeros, which are no values."
)
WHOLE_TIME = (
    "All of a time are its seconds and nanoseconds; base sends the seconds alone where the record is no array."
)
INFINITE = "Infinity passes every deadband, and so does the number behind it; base may go on showing what was before."
ALARMS_PASS = "A change of alarm passes all filters that leave updates out, so that what is shown stays true."
BLANK = "A number put to a text is written as a double is; base writes a FLOAT beyond 1e8 with one blank less."

TOLD_WHY = (
    "The error of a refused put or of a failed read says why, with the status that fits; base names the record only."
)
TOLD_BEFORE_CUT = (
    "A client is told which of its messages ends the connection, also where base cuts it without a word."
)
NO_MORE = "A read sends as many values as there are, also an old one without a count; base adds zeros, or sends none."
WRONG_COUNT = (
    "A put of no value, or of more than there can be or were sent, is refused; base takes what lies in its memory."
)
LARGE_PUT = "A message of more than 64 kB is refused: nothing that can be put is as long."
NO_VERSION = (
    "A client that does not tell its version is served, and may use long headers in any; base calls it too old."
)
STRANGE_SEARCH = "What of a datagram is not understood is passed over, and a search of any version is answered."
NO_NAME = "A channel without a name is answered with CREATE_CH_FAIL; base does not answer."
BEHIND_PUTS = "A read waits for the puts before it; a put is answered also when its channel was cleared meanwhile."
RUBBISH = "A subscription to STSACK_STRING gets its value and alarm; base sends what lies in its memory."

WRITABLE = {name for name, field in FIELDS.items() if field.live} | {"VAL", "DISP", "PROC", "ACKS", "ACKT"}
INPUTS = ("ai", "bi", "mbbi", "longin", "stringin", "waveform_DOUBLE", "waveform_LONG", "waveform_STRING")
WHOLE_RECORDS = ("longout", "bo", "mbbo")
OUTPUTS = ("ao", "bo", "mbbo", "longout", "stringout")
HARDWARE_FIELDS = (
    *("INP", "OUT", "DOL", "OMSL", "OIF", "OROC", "IVOA", "IVOV", "LINR", "EGUF", "EGUL", "ESLO", "EOFF", "ROFF"),
    *("ASLO", "AOFF", "SMOO", "RVAL", "ORAW", "RBV", "ORBV", "MASK", "SHFT", "NOBT", "SIML", "SIOL", "SIMM", "SIMS"),
    *("SVAL", "SSCN", "SDLY", "OLDSIMM", "FLNK", "SDIS", "TSEL", "INIT", "LBRK", "PBRK"),
)
DRIVER_FIELDS = ("EGU", "DRVH", "DRVL", "ZNAM", "ONAM", *(f"{word}{tail}" for word in WORDS for tail in ("ST", "VL")))
NOT_FINITE_TEXTS = ("'nan'", "'NaN'", "'inf'", "'-Infinity'", "nan", "inf", "-inf")


def _inputs() -> Iterator[Explanation]:
    for name in INPUTS:
        yield Explanation(f"get/{name}*/channel", "access", READ_ONLY)
        yield Explanation(f"put/{name}/*", "put", READ_ONLY)
        for variant in ("", ":bare"):
            yield from (
                Explanation(f"fields/{name}{variant}/{field}", "access", READ_ONLY) for field in ("VAL", "VAL$")
            )
        for tail in ("plain", ".", ".VAL", ".VAL{}", ".VAL$"):
            yield Explanation(f"access/{name}/{tail}", "announced", READ_ONLY)


def _puts() -> Iterator[Explanation]:
    for name in ("ao", "longout"):
        yield from (Explanation(f"put/{name}/*/{text}/*", "put", NOT_FINITE) for text in NOT_FINITE_TEXTS)
        yield Explanation(f"put/{name}/limits both/*", "put", LIMITS)
    for name, states in (("bo", 2), ("mbbo", 4)):
        for dbr, values in put.VALUES.items():
            beyond = [value for value in values if dbr != libca.STRING and not 0 <= value < states]
            yield from (
                Explanation(f"put/{name}/{libca.TYPES[dbr]}/{value!r}/*", "put", NO_STATE) for value in beyond
            )
    for number in ("nan", "inf"):
        yield Explanation(f"prepare/deadband:ao:*{number}", "*", NOT_FINITE)
        yield Explanation(f"deadband/ao/*{number}*", "*", NOT_FINITE)


def _fields() -> Iterator[Explanation]:
    for field in HARDWARE_FIELDS:
        yield from (Explanation(f"fields/*/{name}", "*", HARDWARE) for name in (field, f"{field}$"))
    for field in DRIVER_FIELDS:
        yield from (Explanation(f"fields/*/{name}", "access", FROM_DRIVER) for name in (field, f"{field}$"))
        yield from (Explanation(f"fieldput/*/{name}/*", "put", FROM_DRIVER) for name in (field, f"{field}$"))
    yield from (Explanation(f"fieldput/{name}/PROC/*", "events", PROCESS) for name in OUTPUTS)


def _texts() -> Iterator[Explanation]:
    for name in OUTPUTS:
        yield Explanation(f"put/{name}*/STRING/*", "after", REFUSED)
        for text in put.VALUES[libca.STRING]:
            if name != "stringout" and not _is_plain(text):
                yield Explanation(f"put/{name}/STRING/{escape(repr(text))}/*", "*", TEXT_NUMBER)
    yield Explanation("fieldput/*STRING '1.5 V'", "put", TEXT_NUMBER)
    yield Explanation("fieldput/*STRING ''", "put", TEXT_NUMBER)


def _is_plain(text: str) -> bool:
    """Return True for a decimal number in the usual form."""
    return re.fullmatch(r"[-+]?(0|[1-9]\d*)(\.\d*)?", text) is not None


def _read_only_fields() -> Iterator[Explanation]:
    for rtyp in RecordType:
        for name in dbd.fields(rtyp.name).keys() - WRITABLE:
            for field in (name, f"{name}$"):
                yield Explanation(f"fields/{rtyp.name}*/{field}", "access", CONFIGURED)
            yield Explanation(f"fieldput/{rtyp.name}*/{name}/*", "put", CONFIGURED)
    yield Explanation("access/*/.RTYP", "announced", ATTRIBUTE)


def _others() -> Iterator[Explanation]:
    for field in ("ACKS", "ACKT"):
        yield Explanation(f"fields/*/{field}", "access", ACKNOWLEDGE)
        yield Explanation(f"fieldput/*/{field}/*", "put", ACKNOWLEDGE)
    yield Explanation("ack/ai/*", "*", ACKNOWLEDGE)
    for field in ("HIHI", "HIGH", "LOW", "LOLO", "HHSV", "HSV", "LSV", "LLSV"):
        yield Explanation(f"fields/*:bare/{field}", "*", UNSET)
    yield Explanation("fields/*/SCAN", "*", SCANNED)
    yield Explanation("get/mbbo:bare/*", "*", NO_WORDS)
    yield Explanation("fields/mbbo:bare/*", "*", NO_WORDS)
    yield Explanation("fieldput/*/PROC/*", "field", PROC_VALUE)
    for case in ("fields/waveform_*:bare/MPST", "fields/waveform_*:bare/APST", "monitor/waveform_*:bare/*"):
        yield Explanation(case, "*", ON_CHANGE)
    for name in ("longin", "longout"):
        yield Explanation(f"fieldput/{name}/*DOUBLE nan", "*", LIMIT_OFF)
        yield Explanation(f"fieldput/{name}/*DOUBLE inf", "put", WHOLE)
    for case in ("fieldput/*SV/*ENUM *", "fieldput/*SV/*DOUBLE *", "fieldput/*/PREC/*"):
        yield Explanation(case, "put", NO_SEVERITY)
    for dbr in (libca.FLOAT, libca.DOUBLE):
        for value in put.VALUES[dbr]:
            if math.isfinite(value) and (value != int(value) or abs(value) >= 2**31):
                case = f"{libca.TYPES[dbr]}/{value!r}/*"
                yield from (Explanation(f"put/{name}/{case}", "put", WHOLE) for name in WHOLE_RECORDS)
    for text in put.VALUES[libca.STRING]:
        yield from (Explanation(f"put/{name}/STRING/{escape(repr(text))}/*", "put", WHOLE) for name in WHOLE_RECORDS)
    yield Explanation("fieldput/*/disabled/DISA=*", "*", DISABLED)
    yield Explanation("ack/ao/*PUT_ACKT *", "*", YES_OR_NO)
    yield Explanation("ack/ao/*", "ACKS", ONLY_CHANGES)
    yield Explanation("fieldput/*/PROC/undefined", "*", UNDEFINED)
    yield Explanation("monitor/*/count 0/DOUBLE/*", "events", NOT_HIDDEN)
    yield Explanation("fields/waveform_*/HASH", "*", NO_HASH)
    yield Explanation("fields/bo*/HIGH", "*", MOMENTARY)
    yield Explanation("prepare/put:*:crossed/*", "*", LIMITS)
    yield Explanation("access/waveform_STRING/.VAL$", "*", AS_CHARACTERS)
    for case in ("put/stringout/STRING/'caf*", "put/stringout/STRING/'tab*", "fieldput/*/DESC/*STRING 'caf*"):
        yield Explanation(case, "put", ASCII)
    for crossed in ("crossed", "equal"):
        yield Explanation(f"put/*/limits {crossed}/*", "put", LIMITS)
    yield Explanation("get/waveform_STRING/*/ENUM", "status", NO_STATE_TEXT)
    for case in ("fields/*/RTYP$", "fields/*/VERS$", "fieldput/*/DESC$/*STRING*", "fields/waveform_STRING*/VAL$"):
        yield Explanation(case, "*", AS_CHARACTERS)
    yield Explanation("put/stringout/FLOAT/*", "after", BLANK)


def _filters() -> Iterator[Explanation]:
    yield Explanation("filters/*/announced", "access", READ_ONLY)
    for aspect in ("count", "value"):
        yield Explanation("filters/waveform_*/of */count *", aspect, NO_PADDING)
    pair = '"ts":{"num":"ts"}'
    for text in (f"*,{pair}}}", f"?1]{{{pair}}}", *(f'{{{pair},"arr":{piece}}}' for piece in ("{}", '{"e":9}'))):
        for aspect in ("count", "value"):
            yield Explanation(f"filters/ai/{text}/count 0", aspect, WHOLE_TIME)
        yield Explanation(f"filters/ai/{text}/updates, count 0", "events", WHOLE_TIME)
    for band in ('"rel":10', '"abs":Infinity'):
        yield Explanation(f'filters/ai:bare/{{"dbnd":{{{band}}}}}/*', "events", INFINITE)
    for name in ("ai", "longin", "mbbi", "waveform_DOUBLE"):
        yield from (Explanation(f'filters/{name}/*"{key}":*', "events", ALARMS_PASS) for key in ("dec", "utag"))


def _errors() -> Iterator[Explanation]:
    for request in ("READ", "READ_NOTIFY", "EVENT_ADD"):
        for aspect in ("answers", "updates"):
            yield Explanation(f"errors/count */{request}", aspect, NO_MORE)
    for request in ("READ_NOTIFY", "WRITE_NOTIFY", "EVENT_ADD"):
        for dbr in (39, 100, 0xFFFF):
            yield Explanation(f"errors/type {dbr}/{request}", "answers", TOLD_BEFORE_CUT)
    for case in (
        "type 3[56]/READ",
        "type 3[78]/WRITE",
        "type 3[478]/WRITE_NOTIFY",
        "write of a text that is no number",
    ):
        yield Explanation(f"errors/{case}", "*", TOLD_WHY)
    for case in ("count */WRITE", "count */WRITE_NOTIFY", "type 34/WRITE", "write of too few bytes"):
        yield Explanation(f"errors/{case}", "*", WRONG_COUNT)
    for case in ("version/None", "version/[4-8]", "before a channel/text"):
        yield Explanation(f"errors/{case}", "*", NO_VERSION)
    for case in ("version [0-3]", "search without a version", "behind an *", "of no whole words"):
        yield Explanation(f"errors/datagram/{case}", "answers", STRANGE_SEARCH)
    yield Explanation("errors/100 kB", "answers", LARGE_PUT)
    yield Explanation("errors/channel without a payload", "answers", NO_NAME)
    yield Explanation("errors/cleared with a read and a put under way", "*", BEHIND_PUTS)
    yield Explanation("errors/type 37/EVENT_ADD", "updates", RUBBISH)


EXPLAINED: tuple[Explanation, ...] = (
    *_inputs(),
    *_puts(),
    *_fields(),
    *_texts(),
    *_read_only_fields(),
    *_others(),
    *_filters(),
    *_errors(),
)
