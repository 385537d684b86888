"""The repeater of libca, which passes the beacons of servers on to all clients of a computer; ends with its input."""

from __future__ import annotations

import ctypes
import sys
import threading

from epicscorelibs.path import get_lib

if __name__ == "__main__":
    run = ctypes.CDLL(get_lib("ca")).caRepeaterThread
    threading.Thread(target=run, args=(None,), daemon=True).start()
    sys.stdin.read()
