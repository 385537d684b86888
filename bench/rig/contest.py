"""The comparison of servers in turn, round after round, so that a busy machine is busy for all; and its options."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from bench.rig import table
from bench.rig.servers import PEERS, SOFTIOC, Failed, NotAvailable, Peer
from bench.rig.table import Column, Figures, TableRow

Rounds = Annotated[int, typer.Option(min=1, help="Rounds; figures are medians over them.")]
Seconds = Annotated[float, typer.Option(min=1, help="Length of a measurement.")]
Count = Annotated[int, typer.Option(min=2, help="Records.")]
Only = Annotated[str, typer.Option(help=f"Servers, with commas between: {','.join(peer.key for peer in PEERS)}.")]

ALL = ",".join(peer.key for peer in PEERS)
# Seconds of measurement for a server that the load saturates
SHORT = 5.0


def chosen(only: str) -> list[Peer]:
    """Return the peers of the option --only."""
    known = {peer.key: peer for peer in PEERS}
    keys = only.split(",")
    if unknown := set(keys) - known.keys():
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))} is not a server here; allowed: {ALL}", param_hint="--only"
        )
    return [known[key] for key in keys]


def run(
    title: str,
    peers: Sequence[Peer],
    rounds: int,
    measure: Callable[[Peer], Figures],
    columns: Sequence[Column],
    goal: str,
    *,
    saturating: bool = False,
) -> None:
    """Measure each peer in each round, and print the table.

    ``saturating``: a peer that cannot keep up runs once.
    """
    clean_up_when_terminated()
    runs: dict[str, list[Figures | None]] = {peer.key: [] for peer in peers}
    reasons: dict[str, str] = {}
    for number in range(rounds):
        for peer in peers:
            if peer.key in reasons or (saturating and peer.saturates and number):
                continue
            typer.echo(f"round {number + 1} of {rounds}: {peer.title}", err=True)
            runs[peer.key].append(_measured(peer, measure, reasons))
    rows = [TableRow(peer.title, runs[peer.key], reasons.get(peer.key, "failed")) for peer in peers]
    reference = next((row for row, peer in zip(rows, peers, strict=True) if peer is SOFTIOC), None)
    table.show(title, columns, rows, reference, goal)
    for peer in peers:
        if peer.key in reasons:
            typer.echo(f"{peer.title}: {reasons[peer.key]}", err=True)


def clean_up_when_terminated() -> None:
    """Let SIGTERM end the program as Ctrl+C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _measured(peer: Peer, measure: Callable[[Peer], Figures], reasons: dict[str, str]) -> Figures | None:
    """Return the figures of one run; None, and no further runs of this peer, when it cannot be done."""
    try:
        return measure(peer)
    except NotAvailable as error:
        reasons[peer.key] = f"not available: {error}"
    except (Failed, ConnectionError, TimeoutError) as error:
        reasons[peer.key] = f"failed: {error}"
    return None
