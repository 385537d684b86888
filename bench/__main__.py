"""``python -m bench``: the list of the benches."""

from __future__ import annotations

from importlib import import_module

import typer

COMMANDS = (
    *("monitors", "fanout", "connect", "puts", "memory", "slow", "unfair", "rack", "technix", "crate"),
    *("ingest", "archive", "query", "size", "keeping.summaries", "keeping.backlog", "keeping.copying"),
    "keeping.retention",
    *("web.retrieval", "web.live"),
)


def main() -> None:
    """Print what can be measured; each command has --help."""
    for name in COMMANDS:
        text = import_module(f"bench.{name}").__doc__ or ""
        typer.echo(f"python -m bench.{name:17} {text.strip()}")


if __name__ == "__main__":
    typer.run(main)
