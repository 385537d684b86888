"""What others had sent before an Off was put is not carried out behind it, however long it waits for its turn."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest

from ioc.ca.message import READ_NOTIFY, WRITE, WRITE_NOTIFY
from tests.ioc.ca.test_fuzz import frame
from tests.ioc.test_fields import Stand
from tests.small_ioc import Raw, until

LONG = 5


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


def switch(number: int, sid: int, value: int, command: int = WRITE) -> bytes:
    return frame(command, struct.pack(">i4x", value), LONG, 1, sid, number)


@pytest.mark.parametrize("callback", [False, True])
def test_an_on_that_was_sent_before_the_off_of_another_client_does_not_come_after_it(
    stand: Stand, callback: bool
) -> None:
    with Raw(stand) as busy, Raw(stand) as other:
        sid = busy.create("PS:Safe", 1)
        off = other.create("PS:Safe", 2)
        reads = b"".join(frame(READ_NOTIFY, b"", LONG, 1, sid, ioid) for ioid in range(20_000))
        busy.say(reads + switch(90_000, sid, 1, WRITE_NOTIFY if callback else WRITE))
        time.sleep(0.02)
        other.say(switch(90_001, off, 0, WRITE_NOTIFY))
        assert other.answer(WRITE_NOTIFY, 90_001)[0] == 1
        for ioid in range(20_000):
            busy.answer(READ_NOTIFY, ioid)
        time.sleep(0.2)
        assert [each for each in stand.driver.log if each in {("Safe", 1), ("Safe", 0)}] == [("Safe", 0)]
        busy.say(switch(90_002, sid, 1))
        until(lambda: ("Safe", 1) in stand.driver.log)
