"""The script of libca calls, run in a process of its own for each server: one JSON line for each observation."""

from __future__ import annotations

import sys
import time

from conformance.areas import MODULES, NAMES
from conformance.client import CaClient


def main() -> None:
    """Run all cases of the areas named on the command line (none: of all)."""
    client = CaClient(sys.stdout)
    for name, module in zip(NAMES, MODULES, strict=True):
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        began = time.monotonic()
        try:
            module.run(client)
        except ConnectionError as error:  # the other areas may still run
            client.emit(f"aborted/{name}", {"error": str(error)})
        sys.stderr.write(f"{name}: {time.monotonic() - began:.1f} s\n")
    client.close()


if __name__ == "__main__":
    main()
