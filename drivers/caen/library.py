"""CAEN's library: one open handle to one crate, and why it cannot be opened."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

from drivers.base import LinkDown, NoReply
from drivers.caen.config import Config

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board
    from caen_libs.caenhvwrapper import Device, Error


def open_device(config: Config) -> Device:
    """Load the library and log in. Raises LinkDown (no library, no crate, login refused) or NoReply."""
    try:
        from caen_libs import caenhvwrapper as hv  # noqa: PLC0415  loads CAEN's C library
    except (RuntimeError, OSError, AttributeError, ValueError) as error:
        raise LinkDown(_remedy(error)) from error

    class HandleOwner(hv.Device):
        """A device that logs out when it is closed and never by itself, and leaves other crates alone in that.

        After a failed logout ``Device`` would try again when it is collected, on a handle that may then belong to the
        next session. And what it knows of types it throws away for all crates at once, when one is closed or when its
        map is read: each would be asked for all of them again, which on a slow line takes as long as a scan.
        """

        # A session that has the handle of an earlier one must know nothing of its types
        __eq__, __hash__ = object.__eq__, object.__hash__

        def __del__(self) -> None:
            """Do nothing."""

        def close(self) -> None:
            """Log out."""
            _alone(hv.Device.close)(self)

        def get_crate_map(self) -> tuple[Board | None, ...]:
            """Return the boards by slot; what is known of types goes with ``without_types``."""
            boards: tuple[Board | None, ...] = _alone(hv.Device.get_crate_map)(self)
            return boards

        def get_ch_param_info(self, slot: int, channel: int) -> tuple[str, ...]:
            """Return the names of a channel's parameters of now: ``Device`` would tell an empty list again."""
            names: tuple[str, ...] = _alone(hv.Device.get_ch_param_info)(self, slot, channel)
            return names

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


def without_types(device: Device) -> Device:
    """Return another device with the same login, of which caen-libs does not know any types yet.

    It knows them by device, and can throw away only those of all.
    """
    return copy(device)


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of ``Device`` without what it does to other devices."""
    return getattr(method, "__wrapped__", method)


class RepeatingDevice:
    """A device whose calls are repeated when they fail because boards came or went (SYSCONFCHANGE).

    ``read_map()`` is called before each repetition: that is what the code asks for. It returns False where the call
    must not be repeated: the board of which it is has gone. Everything else is the device's own.
    """

    # Repetitions of one call
    _MOST = 3

    def __init__(self, device: Device, read_map: Callable[[], bool]) -> None:
        self._device = device
        self._read_map = read_map

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._device, name)
        return self._repeating(attribute) if callable(attribute) else attribute

    def property(self, slot: int, channel: int | None, name: str, prop: bytes, value: Any) -> bool:
        """Ask for one property of a parameter, in one call of the library; ``value`` (ctypes) receives it.

        Return False where the parameter has no such property. ``Device`` has but a method for all properties, which
        makes seven calls and does not tell 0 from what the crate does not say.
        """
        from caen_libs.caenhvwrapper import Error, lib  # noqa: PLC0415  open_device has imported it before

        function = lib.get_bd_param_prop if channel is None else lib.get_ch_param_prop
        place = (slot,) if channel is None else (slot, channel)
        try:
            self._repeating(function)(self._device.handle, *place, name.encode("ascii"), prop, ct.byref(value))
        except Error as error:
            if error.code.name == "PARAMPROPNOTFOUND":
                return False
            raise
        return True

    def set_switch(self, slot: int, channel: int, name: str, raw: int) -> None:
        """Set a channel's ONOFF, BINARY or ENUM (all are int, CAENHVWrapper.h) in one call of the library.

        ``Device.set_ch_param`` asks for the parameter's type before: where that is not answered, no Off would go out.
        """
        from caen_libs.caenhvwrapper import lib  # noqa: PLC0415  open_device has imported it before

        channels, values = (ct.c_ushort * 1)(channel), (ct.c_int * 1)(raw)
        set_parameter = self._repeating(lib.set_ch_param)
        set_parameter(self._device.handle, slot, name.encode("ascii"), 1, channels, ct.byref(values))

    def _repeating(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from caen_libs.caenhvwrapper import Error  # noqa: PLC0415  open_device has imported it before

        def call(*arguments: Any) -> Any:
            for _ in range(self._MOST):
                try:
                    return function(*arguments)
                except Error as error:
                    if error.code.name != "SYSCONFCHANGE" or not self._read_map():
                        raise
            return function(*arguments)

        return call


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
    if isinstance(error, ValueError):
        return f"caen-libs cannot read the release of CAEN's libcaenhvwrapper.so ({reason}); install another release"
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
