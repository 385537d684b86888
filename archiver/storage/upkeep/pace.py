"""How many rows a step of deletion takes, so that it takes about as long on any computer."""

from __future__ import annotations

# Rows of the first step.
STEP_ROWS = 5000
# Seconds that one step is to take; its rows, and the bytes of arrays in them.
EXPIRE_S = 0.05
FEWEST_ROWS, MOST_ROWS = 500, 100_000
MOST_BYTES = 20_000_000


class Pace:
    """How many rows a step of deletion takes, as the steps before it went: a step costs something by itself, too."""

    def __init__(self) -> None:
        self.rows = STEP_ROWS

    def took(self, seconds: float, *, more: bool) -> None:
        """Note how long a step took, and whether it was a whole one: more rows are left."""
        if seconds > EXPIRE_S:
            self.rows = max(FEWEST_ROWS, self.rows // 2)
        elif more and seconds < EXPIRE_S / 2:
            self.rows = min(MOST_ROWS, self.rows * 2)


def at_most(rows: int, size: int) -> int:
    """Return how many of so many rows a step deletes if each has an array of so many bytes."""
    return min(rows, 1 + MOST_BYTES // (1 + size))
