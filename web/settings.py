"""The settings under ``web:`` of a configuration, and their faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Literal

# The keys below ``web:``, and a sentence.
Fault = tuple[tuple[str, ...], str]


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """The settings ``web:``.

    address: the one to listen on, 0.0.0.0 for all of this computer; puts: whether settings may be put from a browser;
    view: who may see values; logins: the file of logins; certificate, key: files (PEM) for TLS.
    """

    address: str = "127.0.0.1"
    port: int = 8080
    puts: Literal["off", "on"] = "off"
    view: Literal["open", "login"] = "open"
    logins: str | None = None
    certificate: str | None = None
    key: str | None = None

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings beyond their types."""
        if not self.address:
            yield ("address",), "is empty; write 127.0.0.1 for this computer alone, 0.0.0.0 for all"
        elif ":" in self.address and not _is_ipv6(self.address):
            yield ("address",), f"is {self.address!r}; write the address alone, and its port as 'port'"
        if not 0 < self.port < 65536:
            yield ("port",), f"is {self.port}; ports are numbered from 1 to 65535"
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.certificate else ("key", "certificate")
            yield (given,), f"is given without {missing}; TLS needs both files"
        for key, value in (("puts", "on"), ("view", "login")):
            if getattr(self, key) == value and self.logins is None:
                yield (key,), "needs people who can log in: name the file of logins with 'logins'"

    @property
    def url(self) -> str:
        """Return the address for a browser on this computer."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True
