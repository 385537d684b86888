"""The file of logins: a line for each person, ``name:rights:hash``, with a password hashed by Argon2."""

from __future__ import annotations

import logging
import re
import stat
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# What a person may: see, or put as well.
RIGHTS = ("view", "put")
SHORTEST, LONGEST = 8, 200

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,60}")
_HASHER = PasswordHasher()  # the parameters that argon2-cffi recommends: RFC 9106, low memory

log = logging.getLogger(__name__)


class LoginsError(Exception):
    """The file cannot be used: a sentence for who runs the server."""


def line(name: str, password: str, rights: str) -> str:
    """Return the line of a person. Raises LoginsError."""
    if not _NAME.fullmatch(name):
        raise LoginsError(f"{name!r} is no name of a login: use up to 60 letters, digits and _.@-")
    if not SHORTEST <= len(password) <= LONGEST:
        raise LoginsError(f"the password has {len(password)} characters; {SHORTEST} to {LONGEST} are wanted")
    return f"{name}:{rights}:{_HASHER.hash(password)}"


class Logins:
    """The persons of a file, which is read again when it changes; without one (None) nobody can log in.

    Raises LoginsError if the file cannot be used at the start; later its last good state holds.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._persons: dict[str, tuple[str, str]] = {}
        self._seen: tuple[int, int] | None = None
        # for names that nobody has: refusing them takes as long
        self._nobody = _HASHER.hash("nobody has this password")
        if path is not None:
            self._seen, self._persons = self._stamp(path), _read(path)

    @property
    def given(self) -> bool:
        """Return whether there is a file of logins."""
        return self._path is not None

    def rights(self, name: str) -> str:
        """Return what a person may, empty for one who is not in the file (any more)."""
        self._refresh()
        rights, _ = self._persons.get(name, ("", ""))
        return rights

    def known(self, name: str) -> str:
        """Return the hash of a person's password, empty for one who is not in the file (any more)."""
        self._refresh()
        return self._persons.get(name, ("", ""))[1]

    def verify(self, name: str, password: str) -> bool:
        """Return whether this is the person's password; takes some 50 ms in any case."""
        self._refresh()
        _, known = self._persons.get(name, ("", self._nobody))
        try:
            _HASHER.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False
        return name in self._persons

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            seen = self._stamp(self._path)
            if seen != self._seen:
                self._seen = seen
                self._persons = _read(self._path)
                log.info("%s was read again: %d logins", self._path, len(self._persons))
        except LoginsError as error:
            log.error("%s; the logins that were read before hold", error)

    def _stamp(self, path: Path) -> tuple[int, int]:
        try:
            status = path.stat()
        except OSError as error:
            raise LoginsError(f"the file of logins {path} cannot be read: {error.strerror}") from None
        return status.st_mtime_ns, status.st_size


def _read(path: Path) -> dict[str, tuple[str, str]]:
    """Return the persons: name -> rights and hash. Raises LoginsError."""
    try:
        text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
    except OSError as error:
        raise LoginsError(f"the file of logins {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoginsError(f"the file of logins {path} is no text") from None
    if mode & stat.S_IWOTH:
        raise LoginsError(f"the file of logins {path} can be written by all users of this computer: chmod 600 {path}")
    persons = {}
    for number, entry in enumerate(text.splitlines(), 1):
        if not entry.strip() or entry.startswith("#"):
            continue
        name, _, rest = entry.strip().partition(":")
        rights, _, known = rest.partition(":")
        if not _NAME.fullmatch(name) or rights not in RIGHTS or not known.startswith("$argon2"):
            raise LoginsError(f"{path}:{number}: a line is name:view:hash or name:put:hash; 'rackioc web-password' "
                              "makes one")  # fmt: skip
        persons[name] = rights, known
    if mode & stat.S_IROTH:
        log.warning("the file of logins %s can be read by all users of this computer: chmod 600 %s", path, path)
    return persons
