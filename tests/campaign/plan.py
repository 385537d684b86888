"""What a campaign does, decided by its seed alone: nothing in it depends on how long anything takes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.campaign.faults import ENERGIZE, FAULTS, MATRIX, PREPARE, WISHES, Fault

CLIENTS = 3
# When puts come, beside the fault
WHENS = ("before", "during", "after")
# Seconds around the beginning of a fault, or its end, in which puts come
CLOSE = 0.6


@dataclass(frozen=True)
class PutStep:
    """A client puts a value; with ``wait`` it asks for completion."""

    client: int
    point: str
    value: float
    wait: bool


@dataclass(frozen=True)
class Step:
    """Something to do, ``after`` the one before (s): a put, or a command of the fake."""

    after: float
    act: PutStep | str


@dataclass(frozen=True)
class Case:
    """A fault of one instrument, with puts before, during or after it.

    prepare  puts before, whose answers are waited for
    steps    what is done, one after the other
    """

    number: int
    driver: str
    fault: Fault
    when: str
    prepare: tuple[tuple[str, float], ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        acts = ", ".join(f"+{step.after:.2f} {_words(step.act)}" for step in self.steps)
        return f"{self.driver} {self.number}: {self.fault.title}, put {self.when}: {acts}"


def _words(act: PutStep | str) -> str:
    if isinstance(act, str):
        return f"[{act}]"
    return f"{act.point}={act.value:g} by {act.client}{'' if act.wait else ' without callback'}"


def cases(seed: int, driver: str) -> Iterator[Case]:
    """Yield the cases of a driver's instrument, without end."""
    number = 0
    while True:
        yield case(seed, driver, number)
        number += 1


def case(seed: int, driver: str, number: int) -> Case:
    """Return one case: the faults in turn, in an order of the seed, with puts that are chosen at random."""
    dice = random.Random(f"{seed} {driver} {number}")
    order = list(FAULTS[driver])
    random.Random(f"{seed} {driver} {number // len(order)}").shuffle(order)
    fault = order[number % len(order)]
    energized = dice.random() < 0.85
    when = dice.choice(WHENS)
    return _case(number, driver, fault, when, _puts(driver, dice), dice, energized=energized)


def matrix(driver: str) -> list[Case]:
    """Return a case for each fault, each kind of put, before, during and after the fault; an On begins at Off."""
    found: list[Case] = []
    for fault, wish, when in itertools.product(FAULTS[driver], MATRIX[driver] or (None,), WHENS):
        dice = random.Random(f"matrix {driver} {len(found)}")
        puts = [PutStep(0, wish.point, wish.values[0], True)] if wish else []
        on = any(put.point.rpartition(":")[2] in ("HV", "Pw") and put.value == 1 for put in puts)
        found.append(_case(len(found), driver, fault, when, puts, dice, energized=not on))
    return found


def _case(
    number: int, driver: str, fault: Fault, when: str, puts: list[PutStep], dice: random.Random, *, energized: bool
) -> Case:
    lasts = 0.0 if fault.once else dice.choice(fault.seconds)
    begin = [Step(dice.uniform(0, 0.3) if not index else 0.0, line) for index, line in enumerate(fault.begin)]
    end = [Step(0.0, line) for line in fault.end]
    match when:
        case "before":
            steps = [*_spread(puts, dice, CLOSE), *begin, *_delayed(end, lasts)]
        case "during":
            spent = dice.uniform(0, max(0.2, lasts * 0.8))
            steps = [*begin, *_spread(puts, dice, CLOSE, spent), *_delayed(end, max(0.0, lasts - spent))]
        case _:
            steps = [*begin, *_delayed(end, lasts), *_spread(puts, dice, CLOSE)]
    prepare = PREPARE[driver] + (ENERGIZE[driver] if energized else ())
    return Case(number, driver, fault, when, prepare, tuple(steps))


def _puts(driver: str, dice: random.Random) -> list[PutStep]:
    wishes = WISHES[driver]
    if not wishes:
        return []
    chosen = dice.choices(wishes, [wish.weight for wish in wishes], k=dice.choice((1, 1, 2, 3)))
    return [
        PutStep(dice.randrange(CLIENTS), wish.point, dice.choice(wish.values), dice.random() < 0.75)
        for wish in chosen
    ]


def _spread(puts: list[PutStep], dice: random.Random, most: float, first: float = 0.0) -> list[Step]:
    return [Step(first * (not index) + dice.uniform(0, most), put) for index, put in enumerate(puts)]


def _delayed(steps: list[Step], seconds: float) -> list[Step]:
    return [Step(seconds if not index else step.after, step.act) for index, step in enumerate(steps)]
