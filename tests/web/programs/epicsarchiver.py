"""epicsarchiver-retrieval-client: prints the samples of a PV as JSON. Arguments: port, PV, begin and end."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from epicsarchiver.retrieval.client.archiver_retrieval import ArchiverRetrieval


def main(port: str, pv: str, begin: str, end: str) -> None:
    """Print time (ns), value, severity and status of each sample, and the names that fit the PV."""
    archiver = ArchiverRetrieval("127.0.0.1", int(port))
    times = (datetime.fromisoformat(each) for each in (begin, end))
    _, events = archiver.get_events(pv, *times)
    rows = [[each.timestamp_ns, _plain(each.val), each.severity, each.status] for each in events]
    json.dump({"rows": rows, "names": archiver.search(f".*{pv}")}, sys.stdout)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float) else list(value)  # type: ignore[call-overload]


main(*sys.argv[1:])
