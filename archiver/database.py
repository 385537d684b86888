"""From the URL of a database to what writes and reads it."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from archiver.sqlite import SqliteStore
from archiver.sqlite_reader import SqliteReader
from archiver.store import Reader, Store, StoreError


def open_store(database: str) -> Store:
    return SqliteStore(_url(database))


def open_reader(database: str) -> Reader:
    return SqliteReader(_url(database))


def _url(database: str) -> URL:
    try:
        url = make_url(database)
    except ArgumentError:
        url = URL.create("unknown")
    if url.get_backend_name() != "sqlite" or not url.database:
        raise StoreError("the archive's database must be an URL such as sqlite:///rack.sqlite")
    return url
