from __future__ import annotations

from archiver.recording.queue import BATCH_SIZE, SAMPLE_SIZE, Queue
from archiver.sample import Gap, Sample, Value, gap_marker, pack


def sample(number: int, pv: str = "A") -> Sample:
    return Sample(pv, number, float(number), 0, "NO_ALARM")


def test_what_came_is_drained_once_in_order() -> None:
    queue = Queue()
    for number in range(3):
        queue.add(sample(number))
    assert len(queue) == 3
    assert queue.drain().samples == [sample(0), sample(1), sample(2)]
    assert not queue.drain()
    assert queue.oldest is None


def test_what_is_put_back_is_the_oldest_again() -> None:
    queue = Queue()
    for number in range(3):
        queue.add(sample(number))
    batch = queue.drain()
    queue.add(sample(3))
    queue.put_back(batch, since=5.0)
    assert queue.oldest == 5.0
    assert queue.drain().samples == [sample(number) for number in range(4)]


def test_when_memory_is_full_the_loss_is_counted_and_marked_and_the_last_value_kept() -> None:
    queue = Queue(limit=5 * SAMPLE_SIZE)
    for number in range(1, 10):
        queue.add(sample(number))
    queue.add(sample(7, "B"))
    queue.mark_overruns()
    assert queue.lost == 3
    batch = queue.drain()
    assert batch.samples == [sample(number) for number in range(1, 6)]
    queue.done(batch)
    queue.add(sample(10))
    assert queue.drain().samples == [gap_marker("A", 6, Gap.OVERRUN), sample(9), sample(7, "B"), sample(10)]


def test_what_is_being_stored_fills_memory_too() -> None:
    queue = Queue(limit=2 * SAMPLE_SIZE)
    for number in range(2):
        queue.add(sample(number))
    batch = queue.drain()
    for number in range(2, 5):
        queue.add(sample(number))
    assert (len(queue), queue.lost) == (2, 2)
    queue.put_back(batch, since=5.0)
    queue.mark_overruns()
    assert queue.drain() == batch


def test_the_limit_is_of_bytes_and_not_of_samples() -> None:
    queue = Queue(limit=10_000_000, batch_size=20_000_000)
    wave = pack([0.0] * 100_000)
    values: list[Value] = [wave, "x" * 40, 1.0, 7, (1.0,) * 1000]
    for number in range(200):
        queue.add(Sample("A", number, values[number % 5], 0, "NO_ALARM"))
    assert queue.size < 11_000_000
    assert queue.lost > 100
    batch = queue.drain()
    queue.done(batch)
    assert (queue.size, len(queue)) == (0, 0)


def test_a_batch_has_a_size_and_all_of_them_are_all_that_came() -> None:
    queue = Queue()
    samples = [Sample("A", number, pack([float(number)] * 100_000), 0, "NO_ALARM") for number in range(100)]
    for each in samples:
        queue.add(each)
    found: list[Sample] = []
    while batch := queue.drain():
        assert batch.size < BATCH_SIZE + 1_000_000
        assert len(queue) == 100 - len(found)
        found += batch.samples
        queue.done(batch)
    assert found == samples
    assert queue.size == 0


def test_what_is_put_back_is_counted_once() -> None:
    queue = Queue()
    queue.add(sample(1))
    for _ in range(5):
        batch = queue.drain()
        queue.put_back(batch, since=5.0)
    assert (queue.size, len(queue)) == (SAMPLE_SIZE, 1)
