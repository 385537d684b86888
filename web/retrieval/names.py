"""The names of the archived PVs: which there are, and which fit a pattern that anybody may have written."""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing

import re2

from archiver.storage.database import open_reader

# Seconds for which names that were read are taken for all; a name that is not among them is looked for again after
# the shorter one.
LASTS_S, UNKNOWN_S = 10.0, 1.0
# Characters of a pattern, and bytes that matching it may take, at most.
LONGEST, _MEMORY = 1000, 8 << 20


class PatternError(Exception):
    """A pattern that is none: a sentence for who sent it."""


class Names:
    """The names in an archive. All methods raise StoreError."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._names: Sequence[str] = ()
        self._read = -LASTS_S

    def all(self) -> Sequence[str]:
        """Return all names, sorted."""
        return self._newer(LASTS_S)

    def known(self, pv: str) -> bool:
        """Return whether a PV is archived."""
        return _has(self._newer(LASTS_S), pv) or _has(self._newer(UNKNOWN_S), pv)

    def matching(self, pattern: str, limit: int) -> list[str]:
        """Return the names that a regular expression fits as a whole, the first ones. Raises PatternError.

        It is matched in a time that grows with its length alone (RE2): none can hold up the others.
        """
        if len(pattern) > LONGEST:
            raise PatternError(f"the pattern has {len(pattern)} characters: {LONGEST} are allowed")
        options = re2.Options()
        options.max_mem, options.log_errors = _MEMORY, False
        try:
            compiled = re2.compile(pattern, options)
        except re2.error:
            raise PatternError("the pattern is not a regular expression of RE2, or too large") from None
        found: list[str] = []
        for name in self.all():
            if len(found) == limit:
                break
            if compiled.fullmatch(name):
                found.append(name)
        return found

    def _newer(self, age_s: float) -> Sequence[str]:
        with self._lock:
            if time.monotonic() - self._read > age_s:
                with closing(open_reader(self._database)) as reader:
                    self._names = reader.names()
                self._read = time.monotonic()
            return self._names


def of_glob(glob: str) -> str:
    """Return the regular expression of a glob with ``*`` and ``?``, in which all else stands for itself."""
    words = {"*": ".*", "?": "."}
    return "".join(words.get(each) or re.escape(each) for each in glob)


def _has(names: Sequence[str], pv: str) -> bool:
    index = bisect_left(names, pv)
    return index < len(names) and names[index] == pv
