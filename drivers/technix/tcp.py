"""TCP to a terminal server: what is not delivered soon must not be delivered at all.

A command that is lost in the network stays with the system, which repeats it for minutes, also after the connection
was closed: it would be carried out behind newer ones over another connection.
"""

from __future__ import annotations

import socket
import sys
from typing import Any, NamedTuple

import serial

# Milliseconds after which data that the peer's system has not confirmed end the connection, and are thrown away (RFC
# 5482; Linux, tcp(7): it takes up to half as long again). Two repetitions of a packet lie within
LONGEST_DELIVERY = 1000
# Seconds for the answer of a far end to a knock
KNOCK_TIME = 0.1


class Ends(NamedTuple):
    """The addresses of a connection, here and there, as the system gives them."""

    here: Any
    there: Any


def limit_delivery(port: serial.Serial) -> Ends | None:
    """Let data be delivered soon or never, and commands not wait for each other; return where the connection ends.

    Return None for a serial device, for which there is nothing to do.
    """
    # Of ``socket://`` and ``rfc2217://``; pyserial 3.5 has no public name for it
    connection: socket.socket | None = getattr(port, "_socket", None)
    if connection is None:
        return None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LONGEST_DELIVERY)
    return Ends(connection.getsockname(), connection.getpeername())


def knock(ends: Ends) -> bool:
    """Let a far end hear of the end of a connection, which it could not while the network was away.

    Many take one connection at a time, and refuse others until a keep-alive of minutes. To a second attempt to
    connect from the same port the far end answers where it is, and this computer, which knows of no such connection,
    resets it (RFC 9293, 3.5.1: half-open connections). Return True if the far end knew of none: then it has got a
    connection that is closed at once, or has refused one. Never raises.
    """
    family = socket.AF_INET6 if len(ends.here) > 2 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(ends.here)
            connection.settimeout(KNOCK_TIME)
            connection.connect(ends.there)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
