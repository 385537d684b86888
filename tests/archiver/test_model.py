"""What the reading half shows of random streams is what was known: compared with a model, on both databases.

``RACKIOC_STREAMS=5000 RACKIOC_SEED=0 pytest tests/archiver/test_model.py`` for more of them, or for one that failed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.archiver.streams import Clocks, Stream

# Streams of one test, and things that happen in each
STREAMS, STEPS = int(os.environ.get("RACKIOC_STREAMS", "100")), 60
SEED = int(os.environ.get("RACKIOC_SEED", "0"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(5))
def test_what_is_read_is_what_was_known(part: int, database: str, tmp_path: Path, clocks: Clocks) -> None:
    streams = STREAMS if database.startswith("sqlite") else -(-STREAMS // 4)  # a server takes four times as long
    for seed in range(SEED + part, SEED + streams, 5):
        stream = Stream(seed, database, tmp_path, clocks)
        try:
            for _ in range(STEPS):
                stream.step()
                if stream.seen.total() % 10 == 0:
                    stream.check_now()
            stream.close()
            stream.check()
        except BaseException as error:
            error.add_note(f"of the stream with seed {seed}: RACKIOC_SEED={seed} RACKIOC_STREAMS=1")
            raise
