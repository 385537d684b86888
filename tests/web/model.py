"""What the operators of the Archiver Appliance make of samples, one by one, as its documents and sources say."""

from __future__ import annotations

import math
import statistics as st
from typing import Any, NamedTuple

from tests.web.decode import Read

SECOND = 10**9


class Point(NamedTuple):
    time_ns: int
    value: Any
    severity: int


def known(sample: Read) -> bool:
    """Here a value that is INVALID counts no more than NaN, and a text among numbers neither."""
    return sample.severity < 3 and not isinstance(sample.value, str) and not math.isnan(sample.value)


def bins(samples: list[Read], since_ns: int, width_s: int) -> dict[int, list[Read]]:
    found: dict[int, list[Read]] = {}
    for sample in samples:
        number = sample.time_ns // SECOND // width_s
        if sample.time_ns < since_ns:
            number = since_ns // SECOND // width_s - 1
        found.setdefault(number, []).append(sample)
    return found


def deviation(numbers: list[float]) -> float:
    return st.stdev(numbers) if len(numbers) > 1 else 0.0


def linear(samples: list[Read], number: int, width_s: int) -> float:
    x = [(each.time_ns - number * width_s * SECOND) / 1e9 for each in samples if known(each)]
    y = [each.value for each in samples if known(each)]
    middle = width_s // 2
    for a, b, c, d in zip(x, x[1:], y, y[1:], strict=False):
        if a <= middle <= b:
            return float(c + (d - c) * (middle - a) / (b - a))
    return float(y[0])


def value(name: str, samples: list[Read], number: int, width_s: int) -> Any:
    numbers = [float(each.value) for each in samples if known(each)]
    if name == "count":
        return float(len(numbers))
    if not numbers:
        return (math.nan,) * 4 + (0.0,) if name == "statistics" else math.nan
    five = (st.fmean(numbers), deviation(numbers), min(numbers), max(numbers), float(len(numbers)))
    made: dict[str, Any] = {
        "mean": five[0], "std": five[1], "min": five[2], "max": five[3], "median": st.median(numbers),
        "jitter": five[1] / five[0] if five[0] else math.nan, "statistics": five,
        "optimLastSample": (*five, numbers[-1]), "linear": linear(samples, number, width_s),
    }  # fmt: skip
    return made[name]


def statistic(name: str, samples: list[Read], since_ns: int, until_ns: int, width_s: int, fill: bool = True) -> Any:
    found = bins(samples, since_ns, width_s)
    points: list[Point] = []
    in_force: Read | None = None
    for number in range(since_ns // SECOND // width_s - 1, until_ns // SECOND // width_s + 1):
        time_ns = (number * width_s + width_s // 2) * SECOND + (SECOND // 2 if width_s % 2 else 0)
        if number in found:
            in_force = found[number][-1]
            severity = max(each.severity for each in found[number])
            points.append(Point(time_ns, value(name, found[number], number, width_s), severity))
        elif fill and points and in_force is not None:
            lost = not known(in_force)
            before = points[-1]
            nothing = (math.nan,) * len(before.value) if isinstance(before.value, tuple) else math.nan
            if name == "count":
                points.append(Point(time_ns, 0.0, 3 if lost else 0))
            else:
                points.append(Point(time_ns, nothing if lost else before.value, 3 if lost else before.severity))
    return points


def picked(name: str, samples: list[Read], since_ns: int, until_ns: int, width_s: int) -> list[Point]:
    # what is in force before the span, but within the first bin, is a sample of that
    found = bins(samples, since_ns // SECOND // width_s * width_s * SECOND, width_s)
    first, fill = name.startswith("first"), name.endswith("Fill")
    points = []
    before: Read | None = None
    for number in range(since_ns // SECOND // width_s - 1, until_ns // SECOND // width_s + 1):
        time_ns = (number * width_s + width_s // 2) * SECOND
        if number in found:
            each = found[number][0 if first else -1]
            points.append(Point(time_ns if fill else each.time_ns, each.value, each.severity))
            before = found[number][-1] if found[number][-1].severity == 3 else each
        elif fill and before is not None:
            points.append(Point(time_ns, before.value, before.severity))
    return points


def flyers(samples: list[Read], width_s: int, deviations: float, far: bool) -> list[Point]:
    points = []
    for each_bin in bins(samples, 0, width_s).values():
        numbers = [each.value for each in each_bin if known(each)]
        for each in each_bin:
            is_far = known(each) and abs(each.value - st.fmean(numbers)) > deviations * deviation(numbers)
            if is_far == far:
                points.append(Point(each.time_ns, each.value, each.severity))
    return points
