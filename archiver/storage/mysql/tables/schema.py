"""The schema of an archive on a MySQL or MariaDB server: its version, and its migration to the newest."""

from __future__ import annotations

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from archiver.storage.migrations import migrations
from archiver.storage.mysql.server import MysqlSession
from archiver.storage.mysql.tables.procedure import create_procedure
from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl

# How long one statement of a migration may take.
_MIGRATION_S = 3600
_SET_VERSION = "INSERT INTO archive_schema (id, version) VALUES (1, {0}) ON DUPLICATE KEY UPDATE version = {0}"

# A table ``sample`` of another program has no primary key: it stores a row as often as it is sent.
_FOREIGN = """
    SELECT COUNT(*) > 0 AND SUM(index_name = 'PRIMARY') = 0 FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'sample'"""


def schema_version(cursor: Cursor, place: str) -> int:
    """Return the version of the schema, 0 for a database without our tables. Raises StoreError if it is newer."""
    try:
        cursor.execute("SELECT version FROM archive_schema WHERE id = 1")
    except pymysql.ProgrammingError as error:
        if error.args[0] != ER.NO_SUCH_TABLE:
            raise
        return 0
    row = cursor.fetchone()
    version = int(row[0]) if row else 0
    newest = migrations("mysql")[-1].number
    if version > newest:
        raise StoreError(f"{place}: its schema is version {version}, this rackioc supports {newest}: update rackioc")
    return version


def migrate(url: DatabaseUrl) -> None:
    """Migrate the tables to the newest version; a migration that failed is done again. Raises StoreError."""
    session = MysqlSession(url, writing=True, patience_s=_MIGRATION_S)
    try:
        with session.transaction() as cursor:
            version = schema_version(cursor, session.where)
            cursor.execute(_FOREIGN)
            row = cursor.fetchone()
            if version == 0 and row and row[0]:
                raise StoreError(
                    f"{session.where}: this database holds the archive of another program (its table sample has no "
                    "primary key): give archive.database another name"
                )
            for step in migrations("mysql"):
                if step.number > version:
                    for statement in step.statements():
                        cursor.execute(statement)
                    cursor.execute(_SET_VERSION.format(step.number))
                    cursor.connection.commit()
            create_procedure(cursor, session.where)
    finally:
        session.close()
