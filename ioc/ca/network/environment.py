"""The environment variables of Channel Access, and for servers the fallbacks of EPICS base (rsrv, caservertask.c)."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import psutil

# A server's own variable, and the client's that base looks at when it is not set
_FALLBACKS = {
    "EPICS_CAS_SERVER_PORT": "EPICS_CA_SERVER_PORT",
    "EPICS_CAS_BEACON_PORT": "EPICS_CA_REPEATER_PORT",
    "EPICS_CAS_BEACON_PERIOD": "EPICS_CA_BEACON_PERIOD",
    "EPICS_CAS_BEACON_ADDR_LIST": "EPICS_CA_ADDR_LIST",
    "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "EPICS_CA_AUTO_ADDR_LIST",
}
# What nobody here reads, but caproto, which does not serve with a word, or with nothing, where it wants a number
_UNUSED = ("EPICS_PVA_", "EPICS_PVAS_", "EPICS_TS_MIN_WEST")
# A number of seconds for libca (base's default is written 300.0), a whole one for caproto
_SEARCH = "EPICS_CA_MAX_SEARCH_PERIOD"
SERVER_PORT = 5064
# In a list of addresses to be served: all that there are
ANY = "0.0.0.0"


class EnvironmentFault(ValueError):
    """A variable with a value that it cannot have; ``str(error)`` is one sentence that names both."""


def check() -> None:
    """Check what is set, before libca or caproto reads it. Raises EnvironmentFault.

    A variable that is set to nothing is not set, as for base.
    """
    for name, (is_good, allowed) in _CHECKS.items():
        text = os.environ.get(name, "").strip()
        if not text:
            os.environ.pop(name, None)
        elif not is_good(text):
            raise EnvironmentFault(f"the environment variable {name} is '{text}', not {allowed}")


def fill() -> None:
    """Give each of the server's variables that is not set the value of the client's; caproto reads them later.

    Raises EnvironmentFault; OSError for an address to be served that this computer does not have, perhaps not yet.
    """
    check()
    for name in [each for each in os.environ if each.startswith(_UNUSED)]:
        del os.environ[name]
    if search := os.environ.get(_SEARCH):
        os.environ[_SEARCH] = str(math.ceil(float(search)))
    for name, fallback in _FALLBACKS.items():
        if not os.environ.get(name) and os.environ.get(fallback):
            os.environ[name] = os.environ[fallback]
    served = [_own(each.partition(":")[0]) for each in os.environ.get("EPICS_CAS_INTF_ADDR_LIST", "").split()]
    if ANY in served:
        del os.environ["EPICS_CAS_INTF_ADDR_LIST"]
    elif served:
        os.environ["EPICS_CAS_INTF_ADDR_LIST"] = " ".join(served)


def _own(address: str) -> str:
    """Return an address of this computer, perhaps a name, as a number: by that its network is known."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((address, 0))
            number = str(probe.getsockname()[0])
            if _stands_for_many(number):  # it can be bound, but nobody can connect to it
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        except OSError as error:
            sentence = f"{address} in EPICS_CAS_INTF_ADDR_LIST is not an address of this computer: {error.strerror}"
            raise OSError(sentence) from error
    return number


def _stands_for_many(address: str) -> bool:
    """Return True for the address of a multicast group, and for that of all computers of a network here."""
    everybody = {broadcast for _, broadcast in broadcasts()} | {"255.255.255.255"}
    return ipaddress.IPv4Address(address).is_multicast or address in everybody


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) > 0


def _is_period(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _are_hosts(text: str) -> bool:
    """Return True if each is the address or the name of a computer."""
    try:
        return _are_addresses(text) and all(socket.gethostbyname(each.partition(":")[0]) for each in text.split())
    except (OSError, UnicodeError):
        return False


def _are_addresses(text: str) -> bool:
    hosts = [each.partition(":") for each in text.split()]
    return all(_may_be_host(host) and (_is_port(port) if colon else not port) for host, colon, port in hosts)


def _may_be_host(name: str) -> bool:
    """Return True unless no computer can have this name or address; whether one has it is asked later, by libca."""
    return "," not in name and all(name.removesuffix(".").split("."))


_PORT = (_is_port, "a port from 1 to 65535")
_PERIOD = (_is_period, "a number of seconds above 0")
_LIST = (_are_addresses, "a list of addresses, each with :port or without, with spaces between them")
_SWITCH = (lambda text: text.upper() in {"YES", "NO"}, "YES or NO")
# Variable -> whether a value is good, and what is
_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    **dict.fromkeys(("EPICS_CAS_SERVER_PORT", "EPICS_CA_SERVER_PORT"), _PORT),
    **dict.fromkeys(("EPICS_CAS_BEACON_PORT", "EPICS_CA_REPEATER_PORT"), _PORT),
    **dict.fromkeys(("EPICS_CAS_BEACON_PERIOD", "EPICS_CA_BEACON_PERIOD", "EPICS_CA_CONN_TMO", _SEARCH), _PERIOD),
    **dict.fromkeys(("EPICS_CA_ADDR_LIST", "EPICS_CAS_BEACON_ADDR_LIST", "EPICS_CAS_IGNORE_ADDR_LIST"), _LIST),
    **dict.fromkeys(("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"), _SWITCH),
    "EPICS_CA_NAME_SERVERS": _LIST,
    "EPICS_CA_MAX_ARRAY_BYTES": (_is_size, "a number of bytes above 0"),
    "EPICS_CAS_INTF_ADDR_LIST": (
        _are_hosts,
        "a list of addresses of this computer, with spaces between them",
    ),
}


def broadcasts() -> Iterator[tuple[str, str]]:
    """(address, broadcast address) of each of this computer's interfaces that has one."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and each.broadcast:
                yield each.address, each.broadcast


def server_port() -> int:
    """Return the port for searches, and for connections if it is free."""
    return int(os.environ.get("EPICS_CAS_SERVER_PORT") or SERVER_PORT)
