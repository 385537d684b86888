"""aapy: prints the samples of a PV as JSON. Arguments: port, PV, begin and end (ISO 8601)."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from aa.js import JsonFetcher
from aa.pb import PbFetcher


def main(port: str, pv: str, begin: str, end: str) -> None:
    """Print time (s), value and severity of each sample, as raw and as JSON have them."""
    times = [datetime.fromisoformat(each) for each in (begin, end)]
    found = {}
    for name, fetcher in (("raw", PbFetcher), ("json", JsonFetcher)):
        data = fetcher("127.0.0.1", int(port)).get_values(pv, *times)
        columns = (data.timestamps, data.values, data.severities)
        found[name] = list(zip(*(each.reshape(len(data), -1).tolist() for each in columns), strict=True))
    json.dump(found, sys.stdout)


main(*sys.argv[1:])
