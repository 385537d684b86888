"""Connecting: what is announced of a record and its fields, by which names, and in which order."""

from __future__ import annotations

from conformance.client import CaClient
from conformance.points import all_kinds, kinds, pv
from drivers.base import Point

POINTS: tuple[Point, ...] = all_kinds("access")

NAMES = (
    "",
    ".",
    ".VAL",
    ".val",
    ".VAL$",
    ".NOSUCH",
    ".NAME",
    ".RTYP",
    ".VAL.VAL",
    ".VAL ",
    " ",
    ".VAL{}",
    ".DESC",
    ".DESC$",
)


def run(client: CaClient) -> None:
    """Run the cases."""
    wanted = {(name, tail): f"{pv(f'access:{name}')}{tail}" for name, _, _ in kinds() for tail in NAMES}
    channels = client.connect(wanted.values())
    for (name, tail), full in wanted.items():
        channel = channels.get(full)
        key = f"access/{name}/{tail or 'plain'}"
        if channel is None:
            client.emit(key, {"connects": False})
        else:
            about = {"native": channel.native, "count": channel.count, "announced": channel.rights}
            client.emit(key, {"connects": True, **about})
