"""The C softIoc of EPICS base, from the PyPI package epicscorelibs."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping

from epicscorelibs.ioc import dbCore, start_ioc

from bench.rig import load
from bench.rig.load import Load, LoadKind

SCAN = {10.0: ".1 second", 5.0: ".2 second", 2.0: ".5 second", 1.0: "1 second"}


def database(wanted: Load) -> str:
    """Return the records as the text of an EPICS database."""
    return "\n".join(_record(name, wanted, index) for index, name in enumerate(wanted.names))


def _record(name: str, wanted: Load, index: int) -> str:
    match wanted.kind:
        case LoadKind.ramp:
            ramp = {"CALC": f"VAL<{load.WRAP - 1}?VAL+1:0", "VAL": load.first_value(index), "SCAN": SCAN[wanted.rate]}
            return _text("calc", name, {**ramp, **load.LIMITS, **load.SEVERITIES, **load.DEADBANDS, "PREC": 3})
        case LoadKind.setpoint:
            return _text("ao", name, {"PREC": 3})
        case LoadKind.described:
            return _text("ai", name, {"INP": index, "PREC": 3, **load.described(index), **load.SEVERITIES})
        case LoadKind.mixed:
            return _mixed(name, load.MIXED[index] if index < len(load.MIXED) else "setpoint")
        case LoadKind.arrays:
            always = {"SCAN": "10 second", "MPST": "Always", "APST": "Always"}
            source = "" if index == 0 else f"{wanted.names[0]} NPP"  # the first one is put: it is too long for a file
            return _text("waveform", name, {"FTVL": "DOUBLE", "NELM": load.LARGE_ARRAY, "INP": source, **always})


def _mixed(name: str, kind: str) -> str:
    match kind:
        case "state":
            return _text("mbbo", name, dict(zip(("ZRST", "ONST", "TWST", "THST"), load.WORDS, strict=True)))
        case "array":
            return _text("waveform", name, {"FTVL": "DOUBLE", "NELM": load.ARRAY})
        case "text":  # an lsi of base has 32 kB at most
            return _text("waveform", name, {"FTVL": "CHAR", "NELM": load.TEXT})
        case "alarmed":
            return _text("ao", name, load.ALARMED)
    return _text("ao", name, {"PREC": 3})


def _text(rtyp: str, name: str, fields: Mapping[str, object]) -> str:
    body = " ".join(f'field({key}, "{value}")' for key, value in fields.items())
    return f'record({rtyp}, "{name}") {{ {body} }}'


if __name__ == "__main__":
    load.follow_bench()
    wanted = load.begin()
    with tempfile.NamedTemporaryFile("w", suffix=".db") as file:
        file.write(database(wanted))
        file.flush()
        start_ioc(database=file.name)
    if wanted.kind is LoadKind.arrays:
        numbers = str([each * 0.618034 % 10 for each in range(load.LARGE_ARRAY)])  # nothing that is easily packed
        dbCore.dbpf(wanted.names[0].encode(), numbers.encode())
    threading.Event().wait()
