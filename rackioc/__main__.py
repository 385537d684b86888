"""The command ``rackioc`` as ``python -m rackioc``."""

from __future__ import annotations

from rackioc.cli import main

main()
