"""The SQL files under db/, as numbered steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from sqlite3 import complete_statement
from typing import NamedTuple


class Migration(NamedTuple):
    """One step: the version to which it leads, and its SQL."""

    number: int
    sql: str

    def statements(self) -> Iterator[str]:
        """Yield the statements one by one, as a driver executes one at a time, or else commits between them."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if complete_statement(statement):
                yield statement
                statement = ""


def own_tables(dialect: str) -> set[str]:
    """Return the names of an archive's own tables and views: no other table beside them can have one."""
    made = re.compile(r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
    return {name for step in migrations(dialect) for name in made.findall(step.sql)}


def migrations(dialect: str) -> list[Migration]:
    """Return the steps of a dialect in order: db/<dialect>/0001_what_it_does.sql, 0002_..."""
    found = []
    for file in files("db").joinpath(dialect).iterdir():
        if number := re.match(r"(\d{4})_\w+\.sql$", file.name):
            found.append(Migration(int(number[1]), file.read_text(encoding="utf-8")))
    return sorted(found)
