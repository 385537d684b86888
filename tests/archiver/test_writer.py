import asyncio
import logging

import pytest

from archiver import writer as module
from archiver.sample import Metadata, Sample
from archiver.store import StoreError
from archiver.writer import Writer


class FlakyStore:
    """Keeps what it is given, but fails as long as it is told to; after the commit, which is the worst time."""

    def __init__(self):
        self.error = ""
        self.batches = []
        self.described = []

    def add(self, samples):
        self.batches.append(list(samples))
        self._fail()

    def describe(self, metadata):
        self.described.append(dict(metadata))
        self._fail()

    def _fail(self):
        if self.error:
            raise StoreError(self.error)


@pytest.fixture
def store():
    return FlakyStore()


def sample(number):
    return Sample("A", number, number, 0, "NO_ALARM")


def test_a_batch_is_kept_until_its_commit_returned(store):
    async def scenario():
        writer = Writer(store)
        store.error = "the disk is full"
        writer.add(sample(1))
        await writer.flush()
        writer.add(sample(2))
        await writer.flush()
        store.error = ""
        await writer.flush()
        await writer.flush()
        await writer.flush()

    asyncio.run(scenario())
    assert store.batches == [[sample(1)], [sample(1)], [sample(1)], [sample(2)]]


def test_an_error_that_goes_on_is_logged_once_and_so_is_its_end(store, caplog):
    async def scenario():
        writer = Writer(store)
        writer.add(sample(1))
        for store.error in ("full", "full", "locked", "", ""):
            await writer.flush()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "full",
        "locked",
        "the database takes samples again",
    ]


def test_memory_is_bounded_and_the_oldest_go_first(store, monkeypatch, caplog):
    monkeypatch.setattr(module, "LIMIT", 3)

    async def scenario():
        writer = Writer(store)
        for number in range(5):
            writer.add(sample(number))
        await writer.flush()
        assert writer.lost == 2

    asyncio.run(scenario())
    assert store.batches == [[sample(2), sample(3), sample(4)]]
    assert "the oldest are lost" in caplog.text


def test_metadata_that_changed_during_a_commit_is_sent_too(store):
    volts, amperes = Metadata("V"), Metadata("A")

    async def scenario():
        writer = Writer(store)
        writer.describe("A", volts)
        commit = asyncio.create_task(writer.flush())
        await asyncio.sleep(0)
        writer.describe("A", amperes)
        await commit
        await writer.flush()
        await writer.flush()

    asyncio.run(scenario())
    assert store.described == [{"A": volts}, {"A": amperes}]


def test_close_commits_the_kept_batch_and_the_rest_or_says_what_is_lost(store):
    async def scenario():
        writer = Writer(store)
        store.error = "full"
        writer.add(sample(1))
        await writer.flush()
        writer.add(sample(2))
        with pytest.raises(StoreError, match="full; 2 samples are lost"):
            await writer.close()
        store.error = ""
        await writer.close()

    asyncio.run(scenario())
    assert store.batches[-2:] == [[sample(1)], [sample(2)]]
