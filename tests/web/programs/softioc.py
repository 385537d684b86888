"""pythonSoftIOC: an IOC with the access security of a file, and a log of puts on standard output.

Arguments: prefix, file.
"""

from __future__ import annotations

import sys
import threading

from softioc import builder, imports, softioc


def main(prefix: str, security: str) -> None:
    """Serve a number, a switch, an array, and a list of all, until the process is ended."""
    imports.install_pv_logging(security)
    builder.SetDeviceName(prefix.removesuffix(":"))
    builder.aOut("AO", initial_value=1.0, always_update=True)
    builder.boolOut("BO", "Off", "On", initial_value=0, always_update=True)
    builder.aOut("NOBODY", initial_value=0.0, ASG="CLOSED")
    builder.WaveformOut("WAVE", length=20_000, always_update=True, ASG="ARRAYS")
    names = "\n".join(f"{prefix}{each}" for each in ("AO", "BO", "NOBODY", "WAVE"))
    builder.longStringIn("IOC:PVList", length=1000, initial_value=names)
    builder.longStringIn("IOC:SafeList", length=1000, initial_value=f"{prefix}BO 0 Off")
    builder.LoadDatabase()
    softioc.iocInit(enable_pva=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


main(*sys.argv[1:])
