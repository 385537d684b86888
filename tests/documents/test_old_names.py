"""Old names in a soft IOC beside rackioc (docs/how-to/replace-an-ioc.md), when what they follow is gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.rig.loopback import environment, free_port
from tests.archiver.processes import Ioc
from tests.documents.blocks import ROOT

PAGE = ROOT / "docs/how-to/replace-an-ioc.md"
NAMES = "LAB:HV1:S04:C00:Pw_RBV\nLAB:HV1:S04:C00:Status:ON\n"
SERVED = """record(ai, "LAB:GEN:VMon") { field(VAL, "20") field(UDF, "0") }
record(bi, "LAB:HV1:S04:C00:Pw_RBV") { field(VAL, "1") field(UDF, "0") }
record(bi, "LAB:HV1:S04:C00:Status:ON") { field(VAL, "1") field(UDF, "0") }
"""
FOLLOWING = ["OLD:GEN:KV", "OLD:S04:C00:PW:Rd", "OLD:S04:C00:STATUS_ON:Rd", "hv0:4:0:pwonoff:fbk"]


def shown(file: str) -> str:
    """Return a file as the page shows it below ``cat``."""
    found = re.search(rf"(?ms)^\$ cat {re.escape(file)}\n(.*?)^(?:\$ |```)", PAGE.read_text(encoding="utf-8"))
    assert found is not None, file
    return found[1]


def of_a_crate(ioc: str, old: str) -> str:
    """Return the old names of a crate, as the page has them made."""
    command = ["awk", "-v", "crate=LAB:HV1", "-v", f"ioc={ioc}", "-v", f"old={old}", shown("old-names.awk")]
    return subprocess.run(command, input=NAMES, capture_output=True, text=True, check=True).stdout


def test_what_follows_is_invalid_while_rackioc_does_not_run(tmp_path: Path) -> None:
    served = {**os.environ, **environment()}
    port = served["EPICS_CAS_SERVER_PORT"]
    beside = {**served, "EPICS_CAS_SERVER_PORT": str(free_port())}
    asks = {**served, "EPICS_CA_ADDR_LIST": f"127.0.0.1:{beside['EPICS_CAS_SERVER_PORT']}"}
    beside["EPICS_CA_ADDR_LIST"] = f"127.0.0.1:{port}"

    def wait_for(severity: str) -> None:
        command = [sys.executable, "-P", "-m", "rackioc", "get", "-t", *(f"{name}.SEVR" for name in FOLLOWING)]
        deadline = time.monotonic() + 40
        seen: list[str] = []
        while seen != [severity] * len(FOLLOWING):
            assert time.monotonic() < deadline, seen
            seen = subprocess.run(command, check=False, env=asks, capture_output=True, text=True).stdout.split()

    folders = [tmp_path / "rackioc", tmp_path / "old"]
    for folder in folders:
        folder.mkdir()
    new, old = Ioc(folders[0], served), Ioc(folders[1], beside)
    try:
        new.start(SERVED)
        old.start(shown("old-names.db") + of_a_crate("CAENHVAsyn", "OLD") + of_a_crate("HVCAENx527", "hv0"))
        wait_for("NO_ALARM")
        new.stop()
        wait_for("INVALID")
    finally:
        new.stop()
        old.stop()
