"""The stored procedure by which Phoebus reads summaries: created where the user may, for nothing else needs it."""

from __future__ import annotations

import logging
from importlib.resources import files

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

# Its name, for org.phoebus.archive.reader.rdb/stored_procedure
NAME = "rackioc_history"

# Errors of a user who may not create one; the last: only an administrator may, on a server with a binary log.
_DENIED = {ER.DBACCESS_DENIED_ERROR, ER.PROCACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, 1419}

log = logging.getLogger(__name__)


def create_procedure(cursor: Cursor, place: str) -> None:
    """Create the procedure, or the present one instead of an older one; log what is missing if the user may not."""
    sql = files("db").joinpath("mysql/phoebus_procedure.sql").read_text(encoding="utf-8")
    try:
        cursor.execute(f"DROP PROCEDURE IF EXISTS {NAME}")
        cursor.execute(sql)
    except pymysql.MySQLError as error:
        if error.args[0] == ER.SP_ALREADY_EXISTS:  # another archiver has just created it
            return
        if error.args[0] not in _DENIED:
            raise
        log.info(
            "%s: the procedure %s, by which Phoebus reads summaries, was not created: the right CREATE ROUTINE is "
            "missing; nothing else needs it",
            place,
            NAME,
        )
