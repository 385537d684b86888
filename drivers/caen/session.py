"""One login to one crate, in which every failure of caen-libs is raised as a DeviceError."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drivers.base import BadReply, DeviceError, LinkDown, NoReply
from drivers.caen.config import Config

if TYPE_CHECKING:
    from caen_libs.caenhvwrapper import Device, Error

log = logging.getLogger(__name__)

# What the result codes of CAENHVWrapper.h are about; those that are in no set are about the one call. READERR,
# WRITEERR and SYSERR mean a bad parameter or a dead line, depending on the system: they count as the call's until
# nothing at all is answered.
_LINK_CODES = {"DOWN", "SOCKETERROR", "COMMUNICATIONERROR", "NOTCONNECTED", "OS", "LOGOUTFAILED"}
_SLOT_CODES = {"SLOTNOTPRES", "NOTPRES", "SYSCONFCHANGE"}
_UNSUPPORTED_CODES = {
    "EXECCOMNOTIMPL", "GETPROPNOTIMPL", "SETPROPNOTIMPL", "PROPNOTFOUND", "NOTSYSPROP", "NOTGETPROP",
    "PARAMPROPNOTFOUND", "PARAMNOTFOUND", "FUNCTIONNOTAVAILABLE", "NOTYETIMPLEMENTED",
}  # fmt: skip
# "Not yet connected by a Login command" in the header, yet some systems say it of a board: as good as no reply.
_DOUBTFUL = "NOTPRES"
# caen-libs' word for a code that is not in the header
_UNKNOWN = "UNKNOWN"

# What caen-libs raises on replies that it cannot make sense of: unknown unit or type codes and text that is not
# ASCII (ValueError), parameters of a type that has no value (KeyError), enums that are too long (AssertionError),
# text for a channel's parameter (TypeError, up to 3.3 at least).
_NONSENSE = (ValueError, KeyError, AssertionError, TypeError)

# Failures in a row that do not end a session: the bulk call of a large board, and each of its channels, may fail
_MOST_FAILURES = 64


class BoardGone(DeviceError):
    """A slot without a board, or without it any more."""


class Unsupported(BadReply):
    """A function, parameter or property that the crate does not have."""


class Garbled(BadReply):
    """A reply that is noise: what was asked may have been done or not."""


class Session:
    """An open handle of CAEN's library, with the counts of its replies and failures.

    The constructor raises LinkDown (no library, no crate, login refused) or NoReply.
    """

    def __init__(self, config: Config) -> None:
        self._host = config.host
        self._replies = self._failures = 0
        self._failures_in_row = self._timeouts_in_row = 0
        self._device = _open(config)

    @contextmanager
    def asking(self, what: str, slot: int | None = None) -> Iterator[Device]:
        """Yield the device for one call about ``what``. Raises LinkDown, NoReply, BoardGone, BadReply."""
        from caen_libs.caenhvwrapper import Error  # noqa: PLC0415  _open has imported it before

        try:
            yield self._device
        except Error as error:
            failure = self._translate(error, what, slot)
            if isinstance(failure, BoardGone) and error.code.name != _DOUBTFUL:
                self._answered()
            else:
                self._failed(failure)
            raise failure from error
        except _NONSENSE as error:
            failure = BadReply(f"{what}: the reply makes no sense: {error}")
            self._failed(failure)
            raise failure from error
        self._answered()

    def mark(self) -> tuple[int, int]:
        """Return the counts of replies and failures so far, for ``check``."""
        return self._replies, self._failures

    def check(self, mark: tuple[int, int]) -> None:
        """Raise LinkDown if since ``mark`` the crate was asked and has answered nothing."""
        replies, failures = mark
        if self._replies == replies and self._failures > failures:
            raise LinkDown(f"{self._host} has not answered any call of the last scan")

    def close(self) -> None:
        """Log out. Never raises: a dead crate cannot be left properly."""
        try:
            self._device.close()
        except Exception as error:
            log.info("%s: the session could not be closed: %s", self._host, error)

    def _answered(self) -> None:
        self._replies += 1
        self._failures_in_row = self._timeouts_in_row = 0

    def _failed(self, failure: DeviceError) -> None:
        """Count a failure; end the session early where a dead line would be tried out channel by channel."""
        self._failures += 1
        self._failures_in_row += 1
        if self._failures_in_row > _MOST_FAILURES:
            raise LinkDown(
                f"{self._host}: {self._failures_in_row} calls in a row failed; the last one: {failure}"
            ) from failure

    def _translate(self, error: Error, what: str, slot: int | None) -> DeviceError:
        code = error.code.name
        sentence = f"{what}: the call failed: {error.message} ({code})"
        if code == "TIMEERR":
            # One late reply is no reason to log in again. A network that is gone times out for ever, until a login.
            self._timeouts_in_row += 1
            return NoReply(sentence) if self._timeouts_in_row == 1 else LinkDown(sentence)
        if code in _SLOT_CODES and slot is not None:
            return BoardGone(sentence)
        if code in _LINK_CODES | _SLOT_CODES:
            return LinkDown(sentence)
        if code == _UNKNOWN:
            return Garbled(f"{what}: the reply is an error code that caen-libs does not know")
        return Unsupported(sentence) if code in _UNSUPPORTED_CODES else BadReply(sentence)


def _open(config: Config) -> Device:
    try:
        from caen_libs import caenhvwrapper as hv  # noqa: PLC0415  loads CAEN's C library
    except (RuntimeError, OSError, AttributeError) as error:
        raise LinkDown(_remedy(error)) from error

    class HandleOwner(hv.Device):
        """A device that logs out when it is closed and never by itself.

        After a failed logout ``Device`` would try again when it is collected, on a handle that may then belong to the
        next session.
        """

        def __del__(self) -> None:
            """Do nothing."""

    system = hv.SystemType[config.system]  # type: ignore[attr-defined]  # imported there to be used from there
    link = hv.LinkType[config.link]  # type: ignore[attr-defined]
    try:
        return HandleOwner.open(system, link, config.host, config.username, config.password)
    except hv.Error as error:
        kind = NoReply if error.code.name == "TIMEERR" else LinkDown
        raise kind(_login_sentence(config, error)) from error
    except UnicodeEncodeError:
        # Not chained: the error carries the text that could not be encoded, which may be the password.
        raise LinkDown(f"{config.host}: host, user name and password must be ASCII") from None


def _login_sentence(config: Config, error: Error) -> str:
    code = error.code.name
    user = f"user {config.username!r}" if config.username else "no user name"
    reason = {
        "LOGINFAILED": "the login was refused (wrong password, or all of the crate's sessions are in use)",
        "USERPASSFAILED": "wrong user name or password",
        "TOOMANYDEVICEOPEN": "CAEN's library has too many crates open",
        "DEVALREADYOPEN": "CAEN's library has this crate open already",
        "LINKNOTSUPPORTED": f"a {config.system} cannot be reached by {config.link}",
        "TIMEERR": "the crate did not reply in time",
    }.get(code, "the connection cannot be opened")
    return f"{config.system} at {config.host} ({user}): {reason} ({code})"


def _remedy(error: BaseException) -> str:
    """Return what to install. caen-libs hides the dynamic loader's reason in the cause."""
    reason = str(error.__cause__ or error)
    if isinstance(error, AttributeError):
        return f"CAEN's libcaenhvwrapper.so is too old for caen-libs ({reason}); install the latest from www.caen.it"
    for library in ("libcrypto.so.1.1", "libssl.so.1.1"):
        if library in reason:
            return (
                f"CAEN's libcaenhvwrapper.so needs OpenSSL 1.1, and {library} is missing: install it (Debian package "
                "libssl1.1, RHEL compat-openssl11), run ldconfig, and connect again"
            )
    return (
        "libcaenhvwrapper.so cannot be loaded: download the CAEN HV Wrapper Library for Linux from www.caen.it, run "
        f"its install script as root, run ldconfig, and connect again ({reason})"
    )
