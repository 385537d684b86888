"""The command ``rackioc``, also as ``python -m rackioc``."""

from __future__ import annotations

import sys

from rackioc import streams


def main() -> None:
    """Run the command line. Ctrl+C ends it also while it is loaded, which takes seconds on a busy computer."""
    streams.hold()
    try:
        from rackioc.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
