"""The memory of large arrays goes back to the system, whatever lives on between them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
from archiver.allocator import give_back_large_blocks

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

give_back_large_blocks()
before, waiting, small = rss(), [], []
for number in range(3000):
    waiting.append(b"x" * (800_000 + number % 100))
    small.append(b"x" * 1000)
    if len(waiting) > 100:
        del waiting[number * 7919 % 100]
waiting.clear()
print(rss() - before)
"""


def test_large_arrays_are_given_back_although_small_objects_between_them_live_on() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 15_000_000  # of 80 MB of arrays, and 3 MB that live on
