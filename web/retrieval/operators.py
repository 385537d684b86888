"""The operators of the Archiver Appliance: their names, what may follow the names, and what each is."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

# Seconds of a bin, points, and deviations, where none are given
BIN_S, POINTS, DEVIATIONS = 900, 1000, 3.0
# The longest bin (s): 100 years
LONGEST_S = 100 * 366 * 86_400


class Way(Enum):
    """How an operator makes samples."""

    STATISTIC = "a number, or some, for each bin of time"
    PICK = "a sample of each bin of time"
    OPTIMIZED = "the samples, or bins where there are more than so many"
    NTH = "each so manieth sample"
    NCOUNT = "how many samples there are"
    FLYERS = "the samples that are, or are not, far from the mean of their bin"


class Operator(NamedTuple):
    """An operator with its arguments.

    number       seconds of a bin; points of OPTIMIZED; of NTH which sample
    deviations   of FLYERS
    fill         whether an empty bin is as the one before it
    """

    name: str
    way: Way
    number: int
    deviations: float = DEVIATIONS
    fill: bool = True

    @property
    def needs_numbers(self) -> bool:
        """Return whether it computes with the values."""
        return self.way in {Way.STATISTIC, Way.FLYERS}

    @property
    def fills(self) -> bool:
        """Return whether it makes a sample for each bin of time, however few there are in the archive."""
        return self.fill and (self.way is Way.STATISTIC or self.name.endswith("Fill"))


_STATISTICS = ("mean", "min", "max", "count", "median", "std", "jitter", "linear", "stats", "statistics")
_WAYS = {
    **dict.fromkeys(_STATISTICS, Way.STATISTIC),
    **dict.fromkeys(("firstSample", "lastSample", "firstFill", "lastFill"), Way.PICK),
    **dict.fromkeys(("optimized", "optimLastSample", "optLastSample"), Way.OPTIMIZED),
    **dict.fromkeys(("flyers", "ignoreflyers"), Way.FLYERS),
    "nth": Way.NTH,
    "ncount": Way.NCOUNT,
}
_OTHER_NAMES = {"stats": "statistics", "optLastSample": "optimLastSample"}
_NUMBER = re.compile(r"[0-9]{1,12}")
_DEVIATIONS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


def operator_of(text: str) -> Operator:
    """Return the operator of a text such as ``mean``, ``mean_60`` or ``flyers_60_2.5``. Raises ValueError."""
    name, *arguments = text.split("_")
    fill = True
    if name not in _WAYS and name.removesuffix("Sample") in _STATISTICS:
        name, fill = name.removesuffix("Sample"), False
    way = _WAYS.get(name)
    if way is None:
        raise ValueError(f"there is no such operator; there are: {', '.join(sorted(_WAYS))}")
    usual = POINTS if way is Way.OPTIMIZED else BIN_S
    number = _number(name, arguments[0] if arguments else str(usual))
    deviations = DEVIATIONS
    if way is Way.FLYERS and len(arguments) > 1:
        if not _DEVIATIONS.fullmatch(arguments[1]):
            raise ValueError(f"{name}: the number of deviations is not a number such as 3 or 2.5")
        deviations = float(arguments[1])
    return Operator(_OTHER_NAMES.get(name, name), way, number, deviations, fill)


def _number(name: str, text: str) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 0 < number <= LONGEST_S:
        raise ValueError(f"{name}: the number behind the name is not a whole number above 0, such as {name}_60")
    return number
