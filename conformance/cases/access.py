"""Connecting: what is announced of a record and its fields, by which names, and in which order."""

from __future__ import annotations

from conformance.points import all_kinds, kinds, pv
from conformance.session import Session
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


def run(session: Session) -> None:
    wanted = {(name, tail): f"{pv(f'access:{name}')}{tail}" for name, _, _ in kinds() for tail in NAMES}
    channels = session.connect(wanted.values())
    for (name, tail), full in wanted.items():
        channel = channels.get(full)
        key = f"access/{name}/{tail or 'plain'}"
        if channel is None:
            session.emit(key, {"connects": False})
        else:
            about = {"native": channel.native, "count": channel.count, "announced": channel.rights}
            session.emit(key, {"connects": True, **about})
