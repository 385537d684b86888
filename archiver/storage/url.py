"""The URL of an archive's database: its kind and its hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from archiver.storage.store import WrongUrl

# What stands in every sentence about a URL
ALLOWED = "allowed: sqlite:///FILE or mysql+pymysql://USER:PASSWORD@HOST[,HOST2]/NAME"
# User and password end at the first @, as SQLAlchemy has it: a comma before it parts no hosts, whatever follows (?+).
_HOSTS = re.compile(r"(?P<before>\w+\+?\w*://(?:[^:/@]*(?::[^@]*)?@)?+)(?P<hosts>[^/?@]+,[^/?@]+)(?P<after>[/?].*)?")
# Options of the driver that are passwords
_SECRETS = ("password", "passwd")


@dataclass(frozen=True)
class DatabaseUrl:
    """A checked URL. ``nodes``: the same database at each host of a cluster, in the order to be tried."""

    nodes: tuple[URL, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URL of a text. Raises ValueError with a sentence if it is not a supported database."""
        if match := _HOSTS.fullmatch(text):
            hosts, after = match["hosts"].split(","), match["after"] or ""
            return cls(tuple(_checked(f"{match['before']}{host.strip()}{after}") for host in hosts))
        return cls((_checked(text),))

    @classmethod
    def faults(cls, text: str) -> list[str]:
        """Return what is wrong with a text as a URL: nothing, or one sentence."""
        try:
            cls.parse(text)
        except ValueError as error:
            return [str(error)]
        return []

    @property
    def backend(self) -> str:
        """Return ``sqlite`` or ``mysql``, the folder under db/."""
        return self.nodes[0].get_backend_name().replace("mariadb", "mysql")

    @property
    def file(self) -> Path | None:
        """Return the SQLite file, None for a server. A URL has codes (%25) in the place of some characters."""
        return Path(str(self.nodes[0].database)) if self.backend == "sqlite" else None

    @property
    def shown(self) -> str:
        """Return the URLs of all nodes without the password, for logs."""
        return ", ".join(node.difference_update_query(_SECRETS).render_as_string() for node in self.nodes)


def url_of(database: str) -> DatabaseUrl:
    """Return the URL of a text that was not checked with the configuration. Raises WrongUrl."""
    try:
        return DatabaseUrl.parse(database)
    except ValueError as error:
        raise WrongUrl(f"the archive's database {error}") from None


def of_file(path: Path | str) -> str:
    """Return the URL of an SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def _checked(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a database URL; {ALLOWED}") from None
    if url.drivername in {"mysql", "mariadb"}:
        url = url.set(drivername=f"{url.drivername}+pymysql")
    if url.drivername not in {"sqlite", "sqlite+pysqlite", "mysql+pymysql", "mariadb+pymysql"}:
        raise ValueError(f"{url.drivername} is not known; {ALLOWED}")
    # of a password with an @ and then a / or a ? the rest would be taken for the place, and shown
    ends_early = url.get_backend_name() != "sqlite" and text.count("@") > 1
    if ends_early or (url.host is not None and (not url.host or set(url.host) & {"@", ","})):
        raise ValueError(f"has an @ in user or password, or an empty host: write %40 for an @; {ALLOWED}")
    if url.database in {None, "", ":memory:"}:
        raise ValueError(f"names no {'file' if url.get_backend_name() == 'sqlite' else 'database'}; {ALLOWED}")
    return url
