"""The EPICS base side: the C softIoc of epicscorelibs with the generated database, until standard input closes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from epicscorelibs.ioc import start_ioc

from conformance.areas import POINTS
from conformance.database import database


def serve() -> None:
    """Serve the points of all areas; says "ready" when clients can connect."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "conformance.db"
        file.write_text(database(POINTS))
        start_ioc(database=str(file))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve()
